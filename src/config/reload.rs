//! What differs between the settings in use and the settings on disk.
//!
//! Only the rules of judging can be taken over between two frames. The rest is built into connections and
//! pipelines, and waits for a restart.

use std::fmt;
use std::time::Duration;

use super::Config;
use super::camera::Camera;
use super::product::Product;
use crate::roi::Roi;
use crate::verdict::Threshold;

/// One thing that has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// In words, for the operator: `product: threshold 10.5 -> 11`. No secret is in it.
    pub text: String,
    /// It can be taken over while running.
    pub live: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = if self.live { "" } else { " (needs a restart)" };
        write!(f, "{}{rest}", self.text)
    }
}

/// Every difference; none where both mean the same.
pub fn changes(old: &Config, new: &Config) -> Vec<Change> {
    // Named one by one: a field that is added must be thought of here.
    let Config { station, mqtt, outbox, engine, cameras, groups, product, products_dir, sha256: _ } = old;
    let mut changes = Vec::new();
    let mut restart = |changed: bool, text: &str| {
        if changed {
            changes.push(Change { text: text.into(), live: false });
        }
    };
    restart(*station != new.station || *products_dir != new.products_dir, "station");
    restart(*mqtt != new.mqtt, "mqtt");
    restart(*outbox != new.outbox, "outbox");
    restart(*engine != new.engine, "engine");
    restart(*groups != new.groups, "group");
    camera_changes(cameras, &new.cameras, &mut restart);
    product_changes(product, &new.product, &mut changes);
    changes
}

fn camera_changes(old: &[Camera], new: &[Camera], restart: &mut impl FnMut(bool, &str)) {
    let find = |cameras: &[Camera], camera: &Camera| cameras.iter().find(|c| c.id == camera.id).cloned();
    for camera in old {
        match find(new, camera) {
            Some(other) => restart(other != *camera, &format!("camera {}", camera.id)),
            None => restart(true, &format!("camera {} removed", camera.id)),
        }
    }
    for camera in new {
        restart(find(old, camera).is_none(), &format!("camera {} added", camera.id));
    }
    // Triggers name a camera by its position.
    let same_set = old.len() == new.len() && old.iter().all(|camera| find(new, camera).is_some());
    restart(same_set && old.iter().zip(new).any(|(a, b)| a.id != b.id), "order of the cameras");
}

/// Whether both are judged by the same network.
pub fn is_same_product(old: &Product, new: &Product) -> bool {
    (&old.name, &old.bundle) == (&new.name, &new.bundle)
}

fn product_changes(old: &Product, new: &Product, changes: &mut Vec<Change>) {
    let Product {
        name,
        file: _,
        bundle,
        threshold,
        guard_band,
        deadline,
        map_threshold,
        min_area_px,
        mm_per_px,
        roi,
    } = old;
    // The rules of another product are not those of the network that is loaded.
    let is_same = is_same_product(old, new);
    let mut note = |live: bool, key: &str, old: String, new: String| {
        if old != new {
            changes.push(Change { text: format!("product: {key} {old} -> {new}"), live: live && is_same });
        }
    };
    note(false, "name", name.clone(), new.name.clone());
    note(false, "bundle", bundle.display().to_string(), new.bundle.display().to_string());
    note(true, "threshold", number(threshold.map(Threshold::get)), number(new.threshold.map(Threshold::get)));
    note(true, "guard_band", number(*guard_band), number(new.guard_band));
    note(true, "deadline", milliseconds(*deadline), milliseconds(new.deadline));
    note(true, "regions.map_threshold", number(*map_threshold), number(new.map_threshold));
    note(true, "regions.min_area_px", min_area_px.to_string(), new.min_area_px.to_string());
    note(true, "mm_per_px", number(*mm_per_px), number(new.mm_per_px));
    note(true, "roi", checksum(roi.as_deref()), checksum(new.roi.as_deref()));
}

fn checksum(roi: Option<&Roi>) -> String {
    roi.map_or("not set".into(), |roi| roi.sha256().chars().take(8).collect())
}

fn number(value: Option<f64>) -> String {
    value.map_or("not set".into(), |value| value.to_string())
}

fn milliseconds(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}
