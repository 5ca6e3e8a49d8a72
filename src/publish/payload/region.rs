//! One entry of `regions` in `result`.

use schemars::JsonSchema;
use serde::Serialize;

use super::{decimals, significant};
use crate::verdict::regions::Region;

/// Digits of map values.
const DIGITS: usize = 6;

/// A connected defect area: frame pixels, origin top left, and millimetres if the product is calibrated.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Region", deny_unknown_fields)]
pub struct Payload {
    x: f64,
    y: f64,
    w: f64,
    h: f64,
    /// Centroid.
    cx: f64,
    cy: f64,
    area_px: f64,
    /// Largest value of the anomaly map inside.
    peak: f64,
    /// Mean value of the anomaly map inside.
    mean: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    x_mm: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    y_mm: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    w_mm: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    h_mm: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cx_mm: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cy_mm: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    area_mm2: Option<f64>,
}

impl Payload {
    pub(super) fn new(region: &Region, mm_per_px: Option<f64>) -> Self {
        let px = |length| decimals(length, 1);
        let mm = |length: f64| mm_per_px.map(|scale| decimals(length * scale, 3));
        Self {
            x: px(region.x),
            y: px(region.y),
            w: px(region.w),
            h: px(region.h),
            cx: px(region.cx),
            cy: px(region.cy),
            area_px: px(region.area_px),
            peak: map_value(region.peak),
            mean: map_value(region.mean),
            x_mm: mm(region.x),
            y_mm: mm(region.y),
            w_mm: mm(region.w),
            h_mm: mm(region.h),
            cx_mm: mm(region.cx),
            cy_mm: mm(region.cy),
            area_mm2: mm_per_px.map(|scale| decimals(region.area_px * scale * scale, 3)),
        }
    }
}

/// What is not finite is worse than can be said, as in the map itself.
fn map_value(value: f64) -> f64 {
    significant(value, DIGITS).unwrap_or(f64::from(f32::MAX))
}
