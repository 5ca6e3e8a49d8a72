//! One verdict for each trigger, whatever becomes of it, and the counters say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use super::{PATIENT, Station, csflowd};
use crate::fixture;
use crate::mosquitto::Mosquitto;
use crate::mosquitto::subscriber::{Message, Subscriber};

/// What a station published until it said that it is gone.
pub(super) struct Record {
    pub(super) verdicts: Vec<Value>,
    pub(super) results: Vec<Value>,
    pub(super) events: Vec<Value>,
    /// The last ones.
    pub(super) counters: Value,
}

impl Record {
    #[track_caller]
    pub(super) fn until_offline(subscriber: &Subscriber) -> Self {
        Self::of(&subscriber.collect_until("status OFFLINE", is_offline))
    }

    pub(super) fn of(messages: &[Message]) -> Self {
        let on = |topic: &str| -> Vec<Value> {
            messages.iter().filter(|m| m.topic == topic).map(|m| m.payload.clone()).collect()
        };
        Self {
            verdicts: on("plant/top/verdict"),
            results: on("plant/top/result"),
            events: on("plant/event"),
            counters: on("plant/counters").pop().expect("counters are the last words"),
        }
    }

    pub(super) fn count(&self, key: &str) -> u64 {
        self.counters
            .pointer(key)
            .and_then(Value::as_u64)
            .unwrap_or_else(|| panic!("{key}: {}", self.counters))
    }

    /// Codes of the verdicts, in their order.
    fn codes(&self) -> Vec<u64> {
        self.verdicts.iter().map(|verdict| number(verdict, "code")).collect()
    }

    /// Triggers, verdicts, results and counters tell the same story, and nothing is open in it.
    #[track_caller]
    pub(super) fn assert_balances(&self) {
        self.assert_promise();
        // A verdict that comes while the broker is away is counted instead of sent.
        let verdicts = u64::try_from(self.verdicts.len()).unwrap();
        assert_eq!(verdicts + self.count("/verdicts_unsent"), self.count("/triggers"), "{}", self.counters);
        let late = self.results.iter().filter(|result| result["late"] == true);
        assert_eq!(u64::try_from(late.count()).unwrap(), self.count("/late"));
    }

    /// What holds whatever has become of the broker: it may have lost verdicts and seen results more than once.
    #[track_caller]
    pub(super) fn assert_promise(&self) {
        let not_inspected = self.counters["not_inspected"].as_object().unwrap();
        let not_inspected: u64 = not_inspected.values().map(|count| count.as_u64().unwrap()).sum();
        let triggers = self.count("/triggers");
        let judged = self.count("/ok") + self.count("/not_ok") + self.count("/not_decidable");
        assert_eq!(triggers, judged + not_inspected, "{}", self.counters);
        assert_eq!(self.count("/open"), 0, "{}", self.counters);
        assert_eq!(self.count("/results_dropped"), 0, "{}", self.counters);

        // Each as it came first.
        let mut answers = BTreeMap::new();
        for result in self.results.iter().filter(|result| result["late"] == false) {
            let seq = number(result, "seq");
            if !answers.contains_key(&seq) {
                assert!(answers.last_key_value().is_none_or(|(&last, _)| last < seq), "{seq} comes too late");
                answers.insert(seq, result);
            }
        }
        let answered: BTreeSet<u64> = answers.values().map(|result| number(result, "trigger_id")).collect();
        assert_eq!(answered, (0..triggers).collect(), "one result for each trigger");
        assert_eq!(answers.len(), answered.len(), "a trigger has two results");
        for late in self.results.iter().filter(|result| result["late"] == true) {
            assert!(answered.contains(&number(late, "trigger_id")), "{late}");
        }
        for result in answers.values().filter(|result| result["evaluation"] == 1) {
            let value = |key: &str| result[key].as_f64().unwrap_or_else(|| panic!("{key} in {result}"));
            assert!(result["code"] == 0 && value("score") <= value("threshold"), "{result}");
        }

        let numbers = |key| self.verdicts.iter().map(|v| number(v, key)).collect::<Vec<_>>();
        assert!(numbers("seq").is_sorted_by(|one, next| one < next), "{:?}", numbers("seq"));
        let parts: BTreeSet<u64> = numbers("trig").into_iter().collect();
        assert_eq!(parts.len(), self.verdicts.len(), "a trigger has two verdicts: {:?}", numbers("trig"));
        for verdict in &self.verdicts {
            let result = answers[&number(verdict, "seq")];
            let names = [("trig", "trigger_id"), ("ev", "evaluation"), ("code", "code"), ("part", "part_id")];
            for (short, long) in names {
                assert_eq!(verdict.get(short), result.get(long), "{verdict} and {result}");
            }
        }
    }
}

#[track_caller]
pub(super) fn number(message: &Value, key: &str) -> u64 {
    message[key].as_u64().unwrap_or_else(|| panic!("{key} in {message}"))
}

/// Runs a station to its end.
fn run(station: &Station, broker: &Mosquitto, arguments: &[&str]) -> Record {
    let subscriber = Subscriber::start(broker.port);
    station.start(arguments).expect_good_end();
    Record::until_offline(&subscriber)
}

/// What the broker kept from an earlier run is not this one's end.
fn is_offline(message: &Message) -> bool {
    !message.retained && message.topic == "plant/status" && message.payload["state"] == "OFFLINE"
}

/// Checks messages against the schema that the binary prints.
#[track_caller]
fn assert_valid(kind: &str, messages: &[Value]) {
    let output = csflowd().args(["schema", kind]).output().unwrap();
    let schema = serde_json::from_slice(&output.stdout).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for message in messages {
        if let Err(error) = validator.validate(message) {
            panic!("{kind} {message}: {error}");
        }
    }
}

#[test]
fn each_image_of_a_folder_gets_its_verdict_and_then_the_station_ends() {
    let broker = Mosquitto::start();
    // Room for all of them: they come faster than a busy machine judges them.
    let station = Station::new(broker.port, "rate_hz = 100").with_parts(5, 4);
    let record = run(&station, &broker, &["--set", "engine.frame_queue=16"]);
    record.assert_balances();
    assert_eq!((record.count("/ok"), record.count("/not_ok")), (5, 4), "{}", record.counters);
    assert_valid("verdict", &record.verdicts);
    assert_valid("result", &record.results);
    assert_valid("event", &record.events);
    assert_valid("counters", std::slice::from_ref(&record.counters));

    let mut parts = BTreeSet::new();
    for result in &record.results {
        let part = result["part_id"].as_str().unwrap();
        assert_eq!(result["evaluation"], if part.starts_with("good") { 1 } else { 2 }, "{result}");
        assert_eq!(result["frame"]["width"], fixture::SIZE.width);
        parts.insert(part);
    }
    assert_eq!(parts.len(), 9, "{parts:?}");
    for verdict in &record.verdicts {
        let is_good = verdict["part"].as_str().unwrap().starts_with("good");
        assert_eq!((&verdict["pass"], &verdict["code"]), (&is_good.into(), &0.into()), "{verdict}");
    }
}

#[test]
fn an_image_that_is_cut_short_is_a_verdict_with_its_part_id_and_never_a_pass() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, "rate_hz = 20").with_parts(2, 0);
    let whole = fs::read(station.path("images/good0.png")).unwrap();
    fs::write(station.path("images/good0_torn.png"), &whole[..whole.len() / 2]).unwrap();
    let record = run(&station, &broker, &[]);
    record.assert_balances();
    assert_eq!((record.count("/ok"), record.count("/not_inspected/frame_corrupt")), (2, 1));
    let torn: Vec<_> = record.results.iter().filter(|result| result["code"] == 11).collect();
    assert_eq!(torn.len(), 1);
    assert_eq!((&torn[0]["part_id"], &torn[0]["evaluation"]), (&"good0_torn.png".into(), &0.into()));
    for verdict in record.verdicts.iter().filter(|verdict| verdict["code"] == 11) {
        assert_eq!((&verdict["part"], &verdict["pass"]), (&"good0_torn.png".into(), &false.into()));
    }
    assert_valid("verdict", &record.verdicts);
    assert_valid("result", &record.results);
}

#[test]
fn a_station_that_is_asked_for_some_frames_takes_so_many_triggers() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, "rate_hz = 50\nrepeat = true").with_parts(2, 1);
    let record = run(&station, &broker, &["--frames", "7"]);
    record.assert_balances();
    assert_eq!(record.count("/triggers"), 7);
}

#[test]
fn what_waits_when_a_trial_ends_is_judged_however_long_that_takes() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, "rate_hz = 1000\nrepeat = true").with_parts(2, 1);
    // They come within a second, and are judged for several.
    let slow = ["--set", "engine.frame_queue=1000", "--set", "engine.batch_max=1", "--frames", "600"];
    let record = run(&station, &broker, &slow);
    record.assert_balances();
    let judged = (record.count("/ok"), record.count("/not_ok"));
    assert_eq!(judged, (400, 200), "{}", record.counters);
}

#[test]
fn triggers_faster_than_the_network_are_answered_as_dropped() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, "rate_hz = 1000\nrepeat = true").with_parts(10, 0);
    let narrow = ["--set", "engine.frame_queue=1", "--set", "engine.batch_max=1", "--frames", "200"];
    let record = run(&station, &broker, &narrow);
    record.assert_balances();
    assert!(record.count("/not_inspected/frame_dropped") > 0, "{}", record.counters);
    assert!(record.count("/ok") > 0, "the first finds the queue empty: {}", record.counters);
    assert!(record.codes().iter().all(|code| [0, 12].contains(code)), "{:?}", record.codes());
    for verdict in record.verdicts.iter().filter(|verdict| verdict["code"] == 12) {
        assert_eq!((&verdict["rs"], &verdict["ev"], &verdict["pass"]), (&3.into(), &0.into(), &false.into()));
    }
    assert_valid("verdict", &record.verdicts);
}

#[test]
fn frames_of_a_pipeline_are_judged_and_those_of_another_size_than_agreed_are_corrupt() {
    let broker = Mosquitto::start();
    for (agreed, judged, corrupt) in [(96, 4, 0), (128, 0, 4)] {
        let camera = format!(
            "[[camera]]\nid = \"top\"\npipeline = \"test.launch\"\nwidth = {agreed}\nheight = 64\n\
             parameters = {{ pattern = \"snow\", width = 96, height = 64, fps = 20 }}\n"
        );
        let station = Station::new(broker.port, "").with_camera(&camera);
        let record = run(&station, &broker, &["--frames", "4"]);
        record.assert_balances();
        assert_eq!(
            (record.count("/not_ok"), record.count("/not_inspected/frame_corrupt")),
            (judged, corrupt)
        );
        assert!(record.results.iter().all(|result| result.get("part_id").is_none()));
    }
}

#[test]
fn past_the_deadline_the_verdict_is_a_timeout_and_the_score_comes_as_a_late_result() {
    let broker = Mosquitto::start();
    let station = Station::new(broker.port, "rate_hz = 10\nrepeat = true").with_parts(6, 0);
    station.set_product(&PATIENT.replace("60000", "1"));
    let subscriber = Subscriber::start(broker.port);
    let mut daemon = station.start(&[]).ready();
    // A frame that waits longer than that is not judged at all: the network has to be free within a millisecond.
    let seen = subscriber
        .collect_until("late results", |m| m.topic == "plant/top/result" && m.payload["late"] == true);
    daemon.stop();
    let record = Record::of(&[seen, subscriber.collect_until("the stop", is_offline)].concat());
    record.assert_balances();
    assert!(record.count("/late") > 0, "{}", record.counters);
    // The stop may find one that waits.
    assert!(record.codes().iter().all(|code| [20, 50].contains(code)), "{:?}", record.codes());
    assert!(record.verdicts.iter().all(|verdict| verdict["pass"] == false));
    for late in record.results.iter().filter(|result| result["late"] == true) {
        assert!(late["score"].is_f64() && late["evaluation"] == 1, "{late}");
        let of_verdict = |result: &&Value| result["late"] == false && result["seq"] == late["seq"];
        let in_time = record.results.iter().find(of_verdict).unwrap();
        assert_eq!(in_time["part_id"], late["part_id"]);
        assert_eq!(in_time["code"], 20, "{in_time}");
    }
    assert_valid("result", &record.results);
}
