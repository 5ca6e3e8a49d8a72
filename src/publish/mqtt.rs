//! One life of a connection to the broker: opened, used, lost. It never comes back; `broker` opens the next.
//!
//! rumqttc forgets what it holds when a session ends, so it is trusted with nothing: each message has a number,
//! and only an acknowledged number is done. Its loop runs in a thread of its own, which nothing else may block.

use std::collections::HashMap;
use std::fmt::Debug;
use std::net::Ipv6Addr;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use rumqttc::{
    Client, Connection, Event, LastWill, MqttOptions, Outgoing, Packet, QoS, SubscribeReasonCode,
    TlsConfiguration, Transport,
};

use crate::config::mqtt::Mqtt;
use crate::publish::failure::Failure;
use crate::publish::tls;

/// Messages given to a connection and not acknowledged; no more are taken.
pub const WINDOW: u16 = 256;

/// The largest message that is sent: rumqttc would choke on one above its limit, again and again.
const MAX_MESSAGE: usize = 64 * 1024;

/// rumqttc ends the connection at a packet larger than this. Commands are much smaller; what is between is refused
/// by ourselves.
const MAX_INCOMING: usize = 64 * 1024;

/// A broker that takes longer than this to connect, or to take a message from the socket, is away.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the broker shall publish, retained, when the connection breaks.
#[derive(Clone, Debug)]
pub struct Will {
    pub topic: String,
    pub payload: Vec<u8>,
}

/// What somebody published.
#[derive(Clone, Debug)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
    /// The broker had kept it.
    pub retained: bool,
    /// The broker may have sent it before.
    pub repeated: bool,
}

/// What is heard from a connection.
#[derive(Debug)]
pub enum Heard {
    Connected,
    /// The broker has the message of this number.
    Acknowledged(u64),
    /// Whether the broker lets us subscribe to what we asked for.
    Subscribed(bool),
    /// It came to what we subscribed to.
    Message(Message),
    /// Some other sign of life.
    Alive,
    /// We said goodbye, and it is on its way.
    Closed,
    Lost(Failure),
}

/// Where connections come from. A trait, as [`Link`] is, so that the simulation can lose what is on its way.
pub trait Network: Debug {
    /// Begins to connect. [`Heard::Connected`] or [`Heard::Lost`] follows.
    fn open(&mut self, mqtt: &Mqtt, will: Will) -> Result<Box<dyn Link>, Failure>;
}

/// A connection that is being opened or is open.
pub trait Link: Debug {
    fn heard(&self) -> &Receiver<Heard>;

    /// Gives a message to the connection and returns its number, counted from 0; None if it takes no more or the
    /// message is too large. Never waits.
    fn publish(&mut self, topic: &str, retain: bool, payload: Vec<u8>) -> Option<u64>;

    /// Asks for all messages that `filter` fits; [`Heard::Subscribed`] follows. False if the connection takes no more.
    fn subscribe(&self, filter: &str) -> bool;

    /// Says goodbye after all that was given, so that the broker forgets the last will. A connection that is
    /// full is not going anywhere: it gets no goodbye, and the last will tells the truth.
    fn close(&self);
}

/// The network of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Tcp;

struct TcpLink {
    client: Client,
    heard: Receiver<Heard>,
    /// How many messages were given to it.
    given: u64,
}

impl std::fmt::Debug for TcpLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TcpLink").field("given", &self.given).finish_non_exhaustive()
    }
}

impl Network for Tcp {
    fn open(&mut self, mqtt: &Mqtt, will: Will) -> Result<Box<dyn Link>, Failure> {
        let (client, mut connection) = Client::new(options(mqtt, will)?, usize::from(WINDOW));
        let mut network = connection.eventloop.network_options();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(PATIENCE.as_secs());
        connection.eventloop.set_network_options(network);

        // Full: the connection waits for the publisher, which only ever waits for its channels.
        let (tell, heard) = bounded(usize::from(WINDOW));
        let broker = format!("{}:{}", mqtt.host, mqtt.port);
        // Not joined: a resolver that hangs must not keep the daemon from stopping. The thread owns all it
        // uses and ends with its connection, or when nobody listens any more.
        thread::Builder::new()
            .name("mqtt".into())
            .spawn(move || poll(connection, &broker, &tell))
            .map_err(|source| Failure::Thread { source })?;
        Ok(Box::new(TcpLink { client, heard, given: 0 }))
    }
}

impl Link for TcpLink {
    fn heard(&self) -> &Receiver<Heard> {
        &self.heard
    }

    fn publish(&mut self, topic: &str, retain: bool, payload: Vec<u8>) -> Option<u64> {
        if topic.len() + payload.len() > MAX_MESSAGE {
            return None;
        }
        self.client.try_publish(topic, QoS::AtLeastOnce, retain, payload).ok()?;
        self.given += 1;
        Some(self.given - 1)
    }

    fn subscribe(&self, filter: &str) -> bool {
        self.client.try_subscribe(filter, QoS::AtLeastOnce).is_ok()
    }

    fn close(&self) {
        drop(self.client.try_disconnect());
    }
}

fn options(mqtt: &Mqtt, will: Will) -> Result<MqttOptions, Failure> {
    // rumqttc puts ":port" behind the host as it is.
    let host = match mqtt.host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => mqtt.host.clone(),
    };
    let mut options = MqttOptions::new(&mqtt.client_id, host, mqtt.port);
    options
        .set_keep_alive(mqtt.keep_alive.clamp(Duration::from_secs(1), Duration::from_secs(u16::MAX.into())))
        .set_clean_session(true)
        .set_inflight(WINDOW)
        .set_max_packet_size(MAX_INCOMING, MAX_MESSAGE + 16)
        .set_last_will(LastWill::new(will.topic, will.payload, QoS::AtLeastOnce, true));
    if let Some(login) = &mqtt.login {
        options.set_credentials(&login.username, login.password.expose());
    }
    if let Some(settings) = &mqtt.tls {
        let connector = TlsConfiguration::NativeConnector(tls::connector(settings)?);
        options.set_transport(Transport::tls_with_config(connector));
    }
    Ok(options)
}

/// Drives the connection to its end and tells what happens. rumqttc would begin anew at the next poll: this
/// returns instead.
fn poll(mut connection: Connection, broker: &str, tell: &Sender<Heard>) {
    // All our messages have QoS 1 and leave in the order they were given: the n-th that leaves is number n.
    let mut left: u64 = 0;
    let mut numbers = HashMap::new();
    loop {
        let heard = match connection.recv() {
            Ok(Ok(Event::Incoming(Packet::ConnAck(_)))) => Heard::Connected,
            Ok(Ok(Event::Outgoing(Outgoing::Publish(packet)))) => {
                numbers.insert(packet, left);
                left += 1;
                continue;
            }
            Ok(Ok(Event::Incoming(Packet::PubAck(ack)))) => match numbers.remove(&ack.pkid) {
                Some(number) => Heard::Acknowledged(number),
                None => Heard::Alive,
            },
            Ok(Ok(Event::Incoming(Packet::SubAck(ack)))) => {
                let is_granted = |code: &SubscribeReasonCode| *code != SubscribeReasonCode::Failure;
                Heard::Subscribed(ack.return_codes.iter().all(is_granted))
            }
            Ok(Ok(Event::Incoming(Packet::Publish(publish)))) => Heard::Message(Message {
                topic: publish.topic,
                payload: publish.payload.into(),
                retained: publish.retain,
                repeated: publish.dup,
            }),
            Ok(Ok(Event::Outgoing(Outgoing::Disconnect))) => Heard::Closed,
            Ok(Ok(_)) => Heard::Alive,
            Ok(Err(error)) => Heard::Lost(Failure::of_connection(broker.into(), error)),
            Err(_) => Heard::Lost(Failure::Vanished { broker: broker.into() }),
        };
        let over = matches!(heard, Heard::Closed | Heard::Lost(_));
        if tell.send(heard).is_err() || over {
            return;
        }
    }
}
