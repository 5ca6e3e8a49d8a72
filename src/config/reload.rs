//! What differs between the settings in use and the settings on disk.
//!
//! What judges can be taken over between two frames. The rest is built into connections and pipelines, and waits for a
//! restart.

use std::time::Duration;

use super::Config;
use super::camera::Camera;
use super::product::Product;
use crate::roi::Roi;
use crate::verdict::Threshold;

/// Every difference that waits for a restart, in words; none where both mean the same.
pub fn built_in_changes(old: &Config, new: &Config) -> Vec<String> {
    // Named one by one: a field that is added must be thought of here.
    let Config {
        station,
        mqtt,
        outbox,
        engine,
        cameras,
        groups,
        product: _,
        said_product: _,
        choice: _,
        products_dir,
        sha256: _,
    } = old;
    let mut changes = Vec::new();
    let mut restart = |changed: bool, text: &str| {
        if changed {
            changes.push(format!("{text} (needs a restart)"));
        }
    };
    restart(*station != new.station || *products_dir != new.products_dir, "station");
    restart(*mqtt != new.mqtt, "mqtt");
    restart(*outbox != new.outbox, "outbox");
    restart(*engine != new.engine, "engine");
    restart(*groups != new.groups, "group");
    camera_changes(cameras, &new.cameras, &mut restart);
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

/// Every difference between two products, in words: `product: threshold 10.5 -> 11`.
pub fn product_changes(old: &Product, new: &Product) -> Vec<String> {
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
        image,
    } = old;
    let mut changes = Vec::new();
    let mut note = |key: &str, old: String, new: String| {
        if old != new {
            changes.push(format!("product: {key} {old} -> {new}"));
        }
    };
    note("name", name.clone(), new.name.clone());
    note("bundle", bundle.display().to_string(), new.bundle.display().to_string());
    note("threshold", number(threshold.map(Threshold::get)), number(new.threshold.map(Threshold::get)));
    note("guard_band", number(*guard_band), number(new.guard_band));
    note("deadline", milliseconds(*deadline), milliseconds(new.deadline));
    note("regions.map_threshold", number(*map_threshold), number(new.map_threshold));
    note("regions.min_area_px", min_area_px.to_string(), new.min_area_px.to_string());
    note("mm_per_px", number(*mm_per_px), number(new.mm_per_px));
    for ((key, old), (_, new)) in image.named().into_iter().zip(new.image.named()) {
        note(&format!("image.{key}"), number(old), number(new));
    }
    note("image.check", image.check.to_string(), new.image.check.to_string());
    note("roi", checksum(roi.as_deref()), checksum(new.roi.as_deref()));
    changes
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
