//! What happens to the station and around it, when its time has come.

use std::io::ErrorKind;
use std::time::Duration;

use csflowd::publish::outbox::disk::Disk;
use rand::RngExt;

use super::super::checks::{part_id, plc_number};
use super::super::script::{Act, End, Loading};
use super::super::station::Life;
use super::{Fixed, SETTLED, World, camera_id};

impl World {
    /// The next of the acts; it may be the end of this life.
    pub(super) fn act(&mut self, fixed: &Fixed, life: Option<&mut Life<'_>>) -> Option<(End, Duration)> {
        let now = fixed.clock.mono();
        let (_, act) = self.acts.pop_front()?;
        let is_there = life.is_some();
        let life = life.filter(|life| life.stopping.is_none());
        match act {
            Act::Frame(shot) => {
                if let Some(life) = life {
                    self.checks.shown(shot.camera, now, self.frames);
                    life.frame(self.frames, shot);
                }
                self.frames += 1;
            }
            Act::Ask { camera, part } => self.ask(fixed, camera, part),
            Act::Junk => {
                let junk: [&[u8]; 4] = [b"{", b"{\"part\":7}", b"{\"camera\":\"nobody\"}", b""];
                let payload = junk[self.rng.random_range(0..junk.len())];
                let leaf = if payload.is_empty() { "unknown" } else { "trigger" };
                self.broker.publish(&format!("cell/cmd/{leaf}"), payload.into());
            }
            Act::Pace(pace) => self.pace = pace,
            Act::Hang(hang) => self.hang = hang,
            Act::DiskHangs(long) => self.disk_hangs = long,
            Act::DiskFull(is_full) => {
                let kind = is_full.then_some(ErrorKind::StorageFull);
                self.state_disk.fail_writes(kind);
                self.outbox_disk.fail_writes(kind);
            }
            Act::DiskRoom(bytes) => {
                let capacity = bytes.checked_add(self.outbox_disk.used());
                self.outbox_disk.set_capacity(capacity);
            }
            Act::DiskReadsFail(fail) => {
                self.outbox_disk.fail_reads(fail.then_some(ErrorKind::Other));
                self.checks.delivery.is_disordered |= fail;
            }
            Act::DiskTears(bytes) => self.outbox_disk.tear_next(bytes),
            Act::DiskDamage { file, at } => self.damage(file, at),
            Act::BrokerGone { forgets } => self.broker.go(forgets),
            Act::BrokerBack => self.broker.come_back(),
            Act::Cut { noticed_after } => self.broker.cut(noticed_after),
            Act::BrokerMute(is_mute) => self.broker.set_mute(is_mute),
            Act::ClockStep(by_ms) => fixed.clock.step_utc(by_ms),
            Act::Product(product) => {
                if let Some(life) = life {
                    life.changing.want(product);
                }
            }
            Act::Loads(how, takes) => self.loads = (how, takes),
            Act::Room(has_room) => self.has_room = has_room,
            Act::End { how: how @ (End::Kill | End::PowerCut), away } => {
                return is_there.then_some((how, away));
            }
            Act::End { how, away } => return life.map(|_| (how, away)),
        }
        None
    }

    /// A bit flips where the outbox keeps its results.
    fn damage(&mut self, file: usize, at: usize) {
        let Ok(files) = self.outbox_disk.list() else { return };
        let files: Vec<_> = files.iter().filter(|(_, length)| *length > 0).collect();
        if let Some((name, length)) = files.get(file % files.len().max(1)) {
            let at = at % usize::try_from(*length).unwrap();
            let is_damaged = u64::from(self.outbox_disk.damage(name, at));
            self.checks.delivery.damaged += is_damaged;
            self.checks.delivery.damaged_acks += is_damaged * u64::from(name.strip_suffix(".ack").is_some());
        }
    }

    /// The PLC sends a command, with an id because it may come twice.
    fn ask(&mut self, fixed: &Fixed, camera: Option<usize>, part: usize) {
        let cameras = 0..fixed.script.cameras.len();
        for camera in cameras.filter(|&of| camera.is_none_or(|camera| camera == of)) {
            self.checks.asked(camera, part, fixed.clock.mono());
        }
        let (name, number) = (part_id(part), plc_number(part));
        let (at, id) = match camera {
            Some(camera) => (format!(r#""camera":"{}","#, camera_id(camera)), format!("{part}-{camera}")),
            None => (String::new(), format!("{part}")),
        };
        let payload = format!(r#"{{{at}"part":"{name}","trig":{number},"id":"{id}"}}"#);
        self.broker.publish("cell/cmd/trigger", payload.into_bytes());
    }

    /// Nothing is wrong any more. When all must be delivered.
    pub(super) fn mend(&mut self, fixed: &Fixed) -> Duration {
        (self.hang, self.disk_hangs) = (Duration::ZERO, Duration::ZERO);
        (self.loads, self.has_room) = ((Loading::Works, Duration::ZERO), true);
        self.broker.come_back();
        self.broker.set_mute(false);
        for disk in [&self.state_disk, &self.outbox_disk] {
            disk.fail_writes(None);
            disk.fail_reads(None);
            disk.set_capacity(None);
        }
        fixed.clock.mono() + SETTLED
    }
}
