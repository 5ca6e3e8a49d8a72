//! `[[group]]`: the cameras that see one part.

use std::collections::HashSet;
use std::time::Duration;

use super::camera::Camera;
use super::raw::{self, Key};
use super::section::Section;

const WINDOW: Duration = Duration::from_millis(200);

/// Views that make a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// 1 to 32 printable characters; unique.
    pub name: String,
    /// Positions of the cameras in the configuration, at least two; no camera is in two groups.
    pub cameras: Vec<usize>,
    /// All views of a part come within this of its first one. Shorter than half the time between two parts.
    pub window: Duration,
}

/// `taken` are the cameras of the groups before.
pub(super) fn read(
    raw: raw::Group,
    cameras: &[Camera],
    taken: &mut HashSet<usize>,
    section: &mut Section<'_>,
) -> Option<Group> {
    let name = section.required("name", raw.name);
    let name = section.plain_text("name", name, 32);
    let window = section.whole("window_ms", raw.window_ms, 1..=60_000).map_or(WINDOW, Duration::from_millis);
    let ids = section.required("cameras", raw.cameras)?;
    let mut views = Vec::new();
    for id in ids {
        let id = match id {
            Key::Given(id) => id,
            Key::Wrong(why) => {
                section.wrong("cameras", why);
                continue;
            }
            Key::Absent => continue,
        };
        match cameras.iter().position(|camera| camera.id.as_str() == id) {
            None => section.wrong("cameras", format!("there is no camera \"{}\"", id.escape_debug())),
            Some(camera) if !taken.insert(camera) => {
                section.wrong("cameras", format!("camera {id} stands in a group already"));
            }
            Some(camera) => views.push(camera),
        }
    }
    if views.len() < 2 {
        section.wrong("cameras", "must be two or more: a part that one camera sees needs no group");
        return None;
    }
    Some(Group { name: name?, cameras: views, window })
}
