//! A bundle that is written again with another manifest.

use super::*;

#[test]
fn a_rewritten_bundle_has_another_manifest_and_the_same_bytes_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let [from, to] = ["a.csflow", "b.csflow"].map(|name| folder.path().join(name));
    let fixture = Fixture::new();
    fixture.write(&from);
    let before = Bundle::read(&from).unwrap();
    let mut manifest = before.manifest.clone();
    writing::rewrite(&from, &before.sha256, &manifest, &to).unwrap();
    let [a, b] = [&from, &to].map(|file| std::fs::read(file).unwrap());
    assert!(a == b, "nothing was changed");

    manifest.calibration = manifest.calibration.with_guard_band(0.25).unwrap();
    writing::rewrite(&from, &before.sha256, &manifest, &to).unwrap();
    let b = std::fs::read(&to).unwrap();
    assert!(a[8 + header_length(&a)..] == b[8 + header_length(&b)..], "the tensors are the same");
    assert_eq!(Bundle::read(&to).unwrap().manifest, manifest);

    let error = writing::rewrite(&to, &before.sha256, &manifest, &from).unwrap_err().to_string();
    assert!(
        error.ends_with("b.csflow: has changed while csflowd worked with it; nothing was written"),
        "{error}"
    );
    assert!(std::fs::read(&from).unwrap() == a, "the other is left alone");
}

#[cfg(unix)]
#[test]
fn a_bundle_written_in_place_keeps_its_permissions() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.csflow");
    let fixture = Fixture::new();
    fixture.write(&file);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let before = Bundle::read(&file).unwrap();
    writing::rewrite(&file, &before.sha256, &before.manifest, &file).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no part files are left");
}
