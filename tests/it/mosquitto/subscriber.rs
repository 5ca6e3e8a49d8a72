//! An independent client that sees what the broker hands out.

use std::thread;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use serde_json::Value;
use ulid::Ulid;

use super::{PATIENCE, pause};

/// A message as a subscriber sees it.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) retained: bool,
    pub(crate) payload: Value,
}

/// An independent client that subscribes to everything, and does so again when it lost the broker.
pub(crate) struct Subscriber {
    pub(crate) messages: Receiver<Message>,
    /// Says each time that the subscription stands.
    pub(crate) subscribed: Receiver<()>,
}

impl Subscriber {
    /// Subscribed when this returns.
    pub(crate) fn start(port: u16) -> Self {
        let (tell, messages) = bounded(100_000);
        let (tell_subscribed, subscribed) = bounded(100);
        // A name of its own: the broker ends the older one of two clients with the same.
        let mut options = MqttOptions::new(Ulid::generate().to_string(), "127.0.0.1", port);
        options.set_max_packet_size(1 << 20, 1 << 20);
        thread::Builder::new()
            .name("subscriber".into())
            .spawn(move || {
                let (client, mut connection) = Client::new(options, 10);
                for event in connection.iter() {
                    let go_on = match event {
                        Ok(Event::Incoming(Packet::ConnAck(_))) => {
                            // QoS 0: the broker sends at once what it gets and keeps nothing that a kill would take.
                            client.try_subscribe("#", QoS::AtMostOnce).is_ok()
                        }
                        Ok(Event::Incoming(Packet::SubAck(_))) => tell_subscribed.send(()).is_ok(),
                        Ok(Event::Incoming(Packet::Publish(publish))) => {
                            // What a station sends is JSON; commands to it may be anything.
                            let payload = serde_json::from_slice(&publish.payload);
                            let payload = payload.unwrap_or_else(|error| {
                                assert!(publish.topic.contains("/cmd/"), "{}: {error}", publish.topic);
                                Value::Null
                            });
                            let (topic, retained) = (publish.topic, publish.retain);
                            tell.send(Message { topic, retained, payload }).is_ok()
                        }
                        Ok(_) => true,
                        Err(_) => {
                            pause();
                            true
                        }
                    };
                    if !go_on {
                        return;
                    }
                }
            })
            .unwrap();
        let subscriber = Self { messages, subscribed };
        subscriber.wait_subscribed();
        subscriber
    }

    pub(crate) fn wait_subscribed(&self) {
        self.subscribed.recv_timeout(PATIENCE).expect("no subscription");
    }

    /// The next message for which `wanted`; what comes before it is passed over.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, wanted: impl Fn(&Message) -> bool) -> Message {
        self.collect_until(what, wanted).pop().expect("the last is the wanted one")
    }

    /// All messages up to the next for which `wanted`.
    #[track_caller]
    pub(crate) fn collect_until(&self, what: &str, wanted: impl Fn(&Message) -> bool) -> Vec<Message> {
        let mut seen = Vec::new();
        loop {
            match self.messages.recv_timeout(PATIENCE) {
                Ok(message) => {
                    let found = wanted(&message);
                    seen.push(message);
                    if found {
                        return seen;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("in vain: {what}; seen: {seen:#?}")
                }
            }
        }
    }
}
