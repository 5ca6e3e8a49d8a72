//! An independent client that publishes, as a PLC would.

use std::thread;

use crossbeam_channel::{Receiver, bounded};
use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use ulid::Ulid;

use super::PATIENCE;

pub(crate) struct Sender {
    client: Client,
    acknowledged: Receiver<()>,
}

impl Sender {
    pub(crate) fn start(port: u16) -> Self {
        let mut options = MqttOptions::new(Ulid::generate().to_string(), "127.0.0.1", port);
        options.set_max_packet_size(1 << 20, 1 << 20);
        let (client, mut connection) = Client::new(options, 10);
        let (tell, acknowledged) = bounded(100_000);
        thread::Builder::new()
            .name("sender".into())
            .spawn(move || {
                for event in connection.iter() {
                    let go_on = match event {
                        Ok(Event::Incoming(Packet::PubAck(_))) => tell.send(()).is_ok(),
                        Ok(_) => true,
                        Err(_) => false,
                    };
                    if !go_on {
                        return;
                    }
                }
            })
            .unwrap();
        Self { client, acknowledged }
    }

    /// The broker has it when this returns.
    #[track_caller]
    pub(crate) fn send(&self, topic: &str, payload: &str, retain: bool) {
        self.send_many(topic, payload, retain, 1);
    }

    /// The same `count` times, as fast as the broker takes it.
    #[track_caller]
    pub(crate) fn send_many(&self, topic: &str, payload: &str, retain: bool, count: usize) {
        for _ in 0..count {
            self.client.publish(topic, QoS::AtLeastOnce, retain, payload).unwrap();
        }
        for _ in 0..count {
            self.acknowledged.recv_timeout(PATIENCE).expect("the broker does not take it");
        }
    }
}
