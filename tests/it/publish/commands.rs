//! Commands by MQTT, and those who send what they should not.

use std::sync::atomic::Ordering::Relaxed;

use csflowd::command::Order;
use csflowd::config::mqtt::Mqtt;
use csflowd::publish::schema::{Kind, schema};
use csflowd::verdict::Outcome;
use serde_json::Value;

use super::rig::{Plant, mqtt, verdict, with_publisher};
use super::{is, result, seqs};
use crate::mosquitto::sender::Sender;
use crate::mosquitto::subscriber::Subscriber;
use crate::mosquitto::{Mosquitto, PATIENCE, wait_until};

const RELOAD: &str = "plant/cell/cmd/reload";

/// Its log shows who subscribes to what.
fn broker() -> Mosquitto {
    Mosquitto::with_settings("allow_anonymous true\nlog_type subscribe\n", &[])
}

fn subscriptions(broker: &Mosquitto) -> usize {
    broker.log().matches("plant/cell/cmd/#").count()
}

fn listening(port: u16) -> Mqtt {
    Mqtt { commands: true, ..mqtt(port) }
}

#[track_caller]
fn wait_event(subscriber: &Subscriber, name: &str) -> Value {
    let event = subscriber.wait_for(name, |m| is("/event")(m) && m.payload["event"] == name).payload;
    let validator = jsonschema::validator_for(&schema(Kind::Event)).unwrap();
    let errors: Vec<_> = validator.iter_errors(&event).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{event}: {errors:?}");
    event
}

#[track_caller]
fn wait_order(plant: &Plant<'_>) -> Order {
    plant.orders.recv_timeout(PATIENCE).expect("no command").order
}

#[test]
fn a_command_is_carried_out_and_answered_with_its_id() {
    let broker = broker();
    let (subscriber, sender) = (Subscriber::start(broker.port), Sender::start(broker.port));
    with_publisher(&listening(broker.port), |plant| {
        wait_until("subscribed", || subscriptions(&broker) == 1);
        sender.send(RELOAD, r#"{"id":"shift 3"}"#, false);
        assert_eq!(wait_order(plant), Order::Reload);
        let answer = wait_event(&subscriber, "COMMAND_ACCEPTED");
        assert_eq!((&answer["command"], &answer["id"]), (&"reload".into(), &"shift 3".into()));

        sender.send("plant/cell/cmd/trigger", r#"{"camera":"top","part":"A1","id":"4"}"#, false);
        let answer = wait_event(&subscriber, "COMMAND_REFUSED");
        assert_eq!((&answer["command"], &answer["id"]), (&"trigger".into(), &"4".into()));
        assert_eq!(answer["cause"], "camera top is not triggered by command");
        let counters = &plant.health.counters;
        assert_eq!(
            (counters.commands_accepted.load(Relaxed), counters.commands_refused.load(Relaxed)),
            (1, 1)
        );
    });
}

#[test]
fn after_an_outage_commands_are_heard_again_and_those_in_between_are_not_made_up_for() {
    let mut broker = broker();
    with_publisher(&listening(broker.port), |plant| {
        wait_until("subscribed", || subscriptions(&broker) == 1);
        broker.kill();
        wait_until("lost", || !plant.health.broker_connected.load(Relaxed));
        broker.restart();
        wait_until("subscribed again", || subscriptions(&broker) == 2);
        Sender::start(broker.port).send(RELOAD, "", false);
        assert_eq!(wait_order(plant), Order::Reload);
        assert!(plant.orders.is_empty());
    });
}

#[test]
fn nobody_listens_unless_the_settings_say_so() {
    let broker = broker();
    with_publisher(&mqtt(broker.port), |plant| {
        wait_until("connected", || plant.health.broker_connected.load(Relaxed));
        Sender::start(broker.port).send(RELOAD, "", false);
        let subscriber = Subscriber::start(broker.port);
        subscriber.wait_for("heartbeat", is("/heartbeat"));
        assert!(plant.orders.is_empty() && subscriptions(&broker) == 0);
    });
}

#[test]
fn a_command_that_the_broker_has_kept_is_refused_at_every_connection() {
    let mut broker = broker();
    Sender::start(broker.port).send(RELOAD, "{}", true);
    let subscriber = Subscriber::start(broker.port);
    with_publisher(&listening(broker.port), |plant| {
        let answer = wait_event(&subscriber, "COMMAND_REFUSED");
        assert!(answer["cause"].as_str().unwrap().starts_with("it was retained"), "{answer}");
        assert!(plant.orders.is_empty());
        // A broker without persistence forgets it.
        broker.restart();
        wait_until("subscribed again", || subscriptions(&broker) == 2);
    });
}

#[test]
fn a_flood_of_commands_does_not_touch_the_line() {
    const VERDICTS: u64 = 200;
    let broker = broker();
    let (subscriber, sender) = (Subscriber::start(broker.port), Sender::start(broker.port));
    with_publisher(&listening(broker.port), |plant| {
        wait_until("subscribed", || subscriptions(&broker) == 1);
        std::thread::scope(|scope| {
            scope.spawn(|| sender.send_many(RELOAD, "", false, 5000));
            for seq in 1..=VERDICTS {
                plant.send(verdict(seq, Outcome::Good));
            }
        });
        let seen = subscriber.collect_until("the last result", result(VERDICTS));
        assert_eq!(seqs(&seen, "/verdict"), (1..=VERDICTS).collect::<Vec<_>>());
        let counters = &plant.health.counters;
        let answered = || counters.commands_accepted.load(Relaxed) + counters.commands_refused.load(Relaxed);
        wait_until("all were decided about", || answered() == 5000);
        assert!(counters.commands_refused.load(Relaxed) > 0);
        assert_eq!(plant.orders.len() as u64, counters.commands_accepted.load(Relaxed));
    });
}

#[test]
fn a_message_too_large_to_take_ends_one_connection_and_not_each_that_follows() {
    let broker = broker();
    Sender::start(broker.port).send(RELOAD, &"x".repeat(100_000), true);
    let subscriber = Subscriber::start(broker.port);
    with_publisher(&listening(broker.port), |plant| {
        let event = wait_event(&subscriber, "COMMANDS_UNHEARD");
        assert!(event["text"].as_str().unwrap().contains("bytes to a topic of commands"), "{event}");
        wait_until("connected again", || plant.health.broker_connected.load(Relaxed));
        plant.send(verdict(1, Outcome::Good));
        subscriber.wait_for("the result", result(1));
        for _ in 0..3 {
            subscriber.wait_for("heartbeat", is("/heartbeat"));
        }
        assert_eq!(subscriptions(&broker), 1, "subscribed once");
    });
}
