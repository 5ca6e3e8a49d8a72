//! Data folders as people make them, right and wrong.

use std::fs;

use tempfile::TempDir;

use super::*;

/// A data folder with these files, each holding its own name.
fn folder(files: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    folder
}

fn good(n: usize, place: &str) -> TempDir {
    let files: Vec<String> = (0..n).map(|i| format!("{place}{i:02}.png")).collect();
    folder(&files.iter().map(String::as_str).collect::<Vec<_>>())
}

#[track_caller]
fn refuses(root: &Path, expected: &str) {
    let text = training_images(root).unwrap_err().to_string();
    assert!(text.contains(expected), "{text}");
}

#[test]
fn good_images_come_sorted_from_the_folder_for_them() {
    let data = good(9, "train/good/");
    fs::write(data.path().join("train/good/notes.txt"), "").unwrap();
    fs::write(data.path().join("train/good/.hidden.png"), "").unwrap();
    let images = training_images(data.path()).unwrap();
    assert_eq!(images.len(), 9);
    assert!(images.is_sorted());
}

#[test]
fn a_flat_folder_counts_as_good_images_only_without_a_train_folder() {
    let flat = good(8, "");
    assert_eq!(training_images(flat.path()).unwrap().len(), 8);
    fs::create_dir(flat.path().join("train")).unwrap();
    refuses(flat.path(), "train has no folder \"good\"");
}

#[test]
fn folders_that_cannot_be_trained_on_are_refused_by_name() {
    refuses(Path::new("/nowhere/parts"), "data folder /nowhere/parts: there is no such folder");
    refuses(folder(&[]).path(), "images of good parts in train/good (or in the folder itself), found none");
    refuses(good(2, "train/good/").path(), "two images in ");
    refuses(good(7, "train/good/").path(), "at least 8 good images are needed");
}

#[test]
fn test_images_have_a_class_and_their_mask() {
    let data = folder(&[
        "test/good/b.png",
        "test/good/a.JPG",
        "test/crack/a.png",
        "test/crack/b.png",
        "test/stain/a.bmp",
        "ground_truth/crack/a_mask.png",
        "ground_truth/crack/z_mask.png",
        "ground_truth/dent/a_mask.png",
    ]);
    fs::create_dir(data.path().join("test/pit")).unwrap();
    let set = test_images(data.path()).unwrap();
    let seen: Vec<_> = set.images.iter().map(|i| (relative_name(data.path(), &i.path), i.is_good)).collect();
    let expected = [
        ("test/crack/a.png", false),
        ("test/crack/b.png", false),
        ("test/good/a.JPG", true),
        ("test/good/b.png", true),
        ("test/stain/a.bmp", false),
    ];
    assert_eq!(seen, expected.map(|(name, is_good)| (name.to_owned(), is_good)));
    assert_eq!(set.images[0].mask, Some(data.path().join("ground_truth/crack/a_mask.png")));
    assert_eq!(set.images[4].class, "stain");
    let odd = [
        Warning::ImageWithoutMask(data.path().join("test/crack/b.png")),
        Warning::MaskWithoutImage(data.path().join("ground_truth/crack/z_mask.png")),
        Warning::EmptyClass(data.path().join("test/pit")),
        Warning::MaskWithoutImage(data.path().join("ground_truth/dent/a_mask.png")),
    ];
    assert_eq!(set.warnings, odd);
}

#[test]
fn a_folder_without_test_images_is_refused() {
    for data in [folder(&["train/good/a.png"]), folder(&["test/good/a.txt"])] {
        let text = test_images(data.path()).unwrap_err().to_string();
        assert!(text.contains("expected images in test/good and test/<defect>, found no "), "{text}");
    }
}

#[test]
fn the_data_hash_knows_names_and_bytes_but_not_order_or_place() {
    let (one, two) = (good(8, "train/good/"), good(8, "train/good/"));
    let hash = |data: &TempDir, images: &[PathBuf]| data_sha256(data.path(), images).unwrap();
    let images = training_images(one.path()).unwrap();
    let first = hash(&one, &images);
    assert_eq!(first.len(), 64);
    assert_eq!(first, hash(&two, &training_images(two.path()).unwrap()));
    assert_eq!(first, hash(&one, &images.iter().rev().cloned().collect::<Vec<_>>()));
    assert_ne!(first, hash(&one, &images[1..]));
    fs::write(&images[3], "other").unwrap();
    assert_ne!(first, hash(&one, &images));
    fs::remove_file(&images[3]).unwrap();
    let text = data_sha256(one.path(), &images).unwrap_err().to_string();
    assert!(text.contains("03.png: cannot be read"), "{text}");
}
