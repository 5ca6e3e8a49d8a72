//! What is oneDNN's alone: threads, and maps that are used again.

use tch::{Device, Kind, Tensor};

use super::*;
use crate::engine::fused::tests::{architecture, network};
use crate::model::backbone::BackboneKind;
use crate::model::features::Features;

#[test]
fn threads_are_shared_out_and_none_is_lost() {
    for (threads, side, expected) in
        [(1, 256, (1, 1, false)), (2, 256, (1, 1, true)), (2, 768, (2, 2, false)), (8, 768, (6, 2, true))]
    {
        let Shares { largest, others, at_once } = Shares::of(threads, 3, side, Kind::Float);
        assert_eq!((largest, others, at_once), expected, "{threads} threads at {side} px");
    }
    assert_eq!(Shares::of(4, 1, 256, Kind::Float).largest, 4);
}

#[test]
fn a_picture_that_is_given_up_half_way_leaves_nothing_to_the_next() {
    let architecture = architecture(BackboneKind::EfficientnetLite0, Features::Pyramid, 2);
    let trunks = Trunks::new(&network(&architecture, 5), Computed::F32, 2).unwrap();
    let aside = trunks.aside.as_ref().unwrap();
    let small =
        |level: f64| channels_last(&Tensor::full([1, 3, 64, 64], level, (Kind::Float, Device::Cpu))).unwrap();
    // The next picture writes over the maps.
    let finished = |level: f64| aside.begin(&[small(level)]).finish().unwrap()[0].copy();
    let expected = finished(1.0);
    drop(aside.begin(&[small(0.2)]));
    assert!(expected.equal(&finished(1.0)));
    assert!(!expected.equal(&finished(0.2)), "the two pictures can be told apart");
}
