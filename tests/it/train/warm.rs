//! Beginning with the flow of another bundle.

use csflowd::model::bundle::Bundle;

use super::{TRAIN, Trained, trained};
use crate::cli::{assert_refused, run};

#[test]
fn what_the_other_bundle_has_seen_is_never_held_out_and_another_network_is_refused() {
    let Some(Trained { folder, .. }) = trained() else { return };
    let place = tempfile::tempdir_in(folder).unwrap();
    let train = |more: &[&'static str]| {
        let mut arguments = [&TRAIN[..], more].concat();
        arguments[2] = "../parts";
        arguments
    };
    let from = ["--from", "../part.csflow"];
    let output = run(place.path(), &train(&from));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let [base, warm] = [folder.join("part.csflow"), place.path().join("part.csflow")]
        .map(|file| Bundle::read(&file).unwrap());
    let provenance = &warm.manifest.provenance;
    assert_eq!(provenance.warm_start, Some(base.sha256));
    // Of the four that the other has not seen, two calibrate and two are learnt from.
    let held_out = &provenance.fingerprints.held_out;
    let unseen = &base.manifest.provenance.fingerprints.held_out;
    assert!(held_out.len() == 2 && held_out.iter().all(|image| unseen.contains(image)), "{held_out:?}");
    // It goes on from there and does not begin anew.
    let [first, again] = [&base.manifest.provenance, provenance].map(|one| one.epoch_kept);
    assert_eq!((first, again), (3, 3));

    for (more, expected) in [
        (
            &["--hidden", "32", "--input", "384"][..],
            "--from ../part.csflow: its flow does not fit: architecture.input_px is 256, not 384; \
             architecture.flow.hidden is 64, not 32",
        ),
        (
            &["--folds", "3"],
            "--from was trained on 8 of these 12 images, so folds would not be fair: give --folds 0",
        ),
    ] {
        let mut arguments = train(&[&from[..], more].concat());
        if more[0] == "--folds" {
            // It stands among those of all trainings here.
            arguments.truncate(arguments.len() - 2);
            arguments[10] = more[1];
        }
        assert_refused(place.path(), &arguments, 66, expected);
    }
    assert_refused(place.path(), &train(&["--from", "../parts"]), 66, "cannot read ../parts");
}
