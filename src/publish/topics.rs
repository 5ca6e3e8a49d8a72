//! Where each kind of message is published: the configured prefix and fixed leaves.

use crate::frame::CameraId;

/// The topics of one station.
#[derive(Clone, Debug)]
pub struct Topics {
    prefix: String,
    pub status: String,
    pub heartbeat: String,
    pub counters: String,
    pub event: String,
    /// Verdicts of parts that several cameras see.
    pub part: String,
    commands: String,
}

impl Topics {
    pub fn new(prefix: &str) -> Self {
        let station = |leaf| format!("{prefix}/{leaf}");
        Self {
            prefix: prefix.into(),
            status: station("status"),
            heartbeat: station("heartbeat"),
            counters: station("counters"),
            event: station("event"),
            part: station("part/verdict"),
            commands: station("cmd/"),
        }
    }

    /// What to subscribe to for commands.
    pub fn all_commands(&self) -> String {
        format!("{}#", self.commands)
    }

    /// What a topic for commands ends with.
    pub fn command<'a>(&self, topic: &'a str) -> Option<&'a str> {
        topic.strip_prefix(&self.commands)
    }

    pub fn verdict(&self, camera: &CameraId) -> String {
        format!("{}/{camera}/verdict", self.prefix)
    }

    /// `camera` is the level before the leaf.
    pub fn result(&self, camera: &str) -> String {
        format!("{}/{camera}/result", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_are_fixed_and_camera_topics_carry_the_camera() {
        let topics = Topics::new("plant1/line4");
        let camera = CameraId::new("top").unwrap();
        assert_eq!(topics.status, "plant1/line4/status");
        assert_eq!(topics.verdict(&camera), "plant1/line4/top/verdict");
        assert_eq!(topics.result(camera.as_str()), "plant1/line4/top/result");
        assert_eq!(topics.all_commands(), "plant1/line4/cmd/#");
        assert_eq!(topics.command("plant1/line4/cmd/reload"), Some("reload"));
        assert_eq!(topics.command("plant1/line4/cmd"), None);
    }
}
