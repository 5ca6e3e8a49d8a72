//! Where pictures go: PNG files that are whole or not there, and a manifest with a line for each.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use crate::appearance::Appearance;
use crate::clock::Moment;
use crate::frame::{CameraId, PartId, Picture, PixelFormat};
use crate::image_file::writing;

/// Pictures of one camera within one millisecond, beyond which something else is wrong.
const SAME_NAME: u32 = 1000;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("folder {}: cannot be made", .folder.display())]
    Folder { folder: PathBuf, source: io::Error },
    #[error("{}: cannot be written", .file.display())]
    Write { file: PathBuf, source: io::Error },
    #[error("{}: is there already, and nothing is written over: give another name", .0.display())]
    Exists(PathBuf),
}

/// Pictures of one camera on their way into a folder in the layout of `MVTec AD`.
#[derive(Debug)]
pub struct Store {
    camera: CameraId,
    /// Of the data set; holds the manifest.
    root: PathBuf,
    /// Below it, as `train/good`.
    class: PathBuf,
    manifest: File,
}

/// A picture's line in the manifest.
#[derive(Debug, Serialize)]
struct Line<'a> {
    /// From the manifest's folder.
    file: String,
    time: String,
    camera: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<&'a str>,
    width: u32,
    height: u32,
    format: &'static str,
    brightness: f64,
    dark: f64,
    bright: f64,
    sharpness: f64,
}

impl Store {
    /// `class` is the folder below `root` that the pictures go to.
    pub fn open(root: &Path, class: &Path, camera: CameraId) -> Result<Self, StoreError> {
        let folder = root.join(class);
        fs::create_dir_all(&folder).map_err(|source| StoreError::Folder { folder, source })?;
        let file = root.join("manifest.jsonl");
        let manifest = open_lines(&file).map_err(|source| StoreError::Write { file, source })?;
        Ok(Self { camera, root: root.into(), class: class.into(), manifest })
    }

    /// Writes a picture and its line, and says what it is called.
    pub fn keep(
        &mut self,
        picture: Picture<'_>,
        appearance: Appearance,
        (at, part): (Moment, Option<&PartId>),
    ) -> Result<PathBuf, StoreError> {
        let failed = |file: PathBuf| move |source| StoreError::Write { file, source };
        let folder = self.root.join(&self.class);
        let time =
            Timestamp::try_from(at.utc).map_err(|error| failed(folder.clone())(io::Error::other(error)))?;
        let bytes = writing::png(picture).map_err(failed(folder.clone()))?;
        let stem = format!("{}-{}", self.camera, time.strftime("%Y%m%dT%H%M%S%3f"));
        let mut names = (1..=SAME_NAME).map(|n| match n {
            1 => format!("{stem}.png"),
            n => format!("{stem}_{n}.png"),
        });
        let name = loop {
            let Some(name) = names.next() else { return Err(StoreError::Exists(folder.join(stem))) };
            match write_new(&folder.join(&name), &bytes) {
                Err(StoreError::Exists(_)) => {}
                result => break result.map(|()| name)?,
            }
        };
        let file = self.class.join(name);
        let line = Line {
            file: file.display().to_string(),
            time: time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
            camera: self.camera.as_str(),
            part: part.map(PartId::as_str),
            width: picture.size.width,
            height: picture.size.height,
            format: format_name(picture.format),
            brightness: rounded(appearance.brightness, 10.0),
            dark: rounded(appearance.dark, 10_000.0),
            bright: rounded(appearance.bright, 10_000.0),
            sharpness: rounded(appearance.sharpness, 1000.0),
        };
        let manifest = failed(self.root.join("manifest.jsonl"));
        let written = serde_json::to_string(&line).map_err(io::Error::from).and_then(|mut line| {
            line.push('\n');
            self.manifest.write_all(line.as_bytes())
        });
        written.map_err(manifest)?;
        Ok(self.root.join(file))
    }
}

/// As the station file has it.
pub(super) fn format_name(format: PixelFormat) -> &'static str {
    match format {
        PixelFormat::Gray8 => "GRAY8",
        PixelFormat::Rgb8 => "RGB",
        PixelFormat::Bgr8 => "BGR",
    }
}

/// Writes a file that is not there yet: all of it, or nothing.
pub(super) fn write_new(file: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let failed = |source| StoreError::Write { file: file.into(), source };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".csflowd-").permissions(Permissions::from_mode(0o644));
    let mut written = builder.tempfile_in(folder).map_err(failed)?;
    written.write_all(bytes).and_then(|()| written.as_file().sync_all()).map_err(failed)?;
    match written.persist_noclobber(file) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Err(StoreError::Exists(file.into())),
        Err(error) => Err(failed(error.error)),
    }
}

/// To append lines to. One that a crash or a full disk cut short is ended.
fn open_lines(file: &Path) -> io::Result<File> {
    let mut lines = OpenOptions::new().read(true).append(true).create(true).open(file)?;
    if lines.seek(SeekFrom::End(0))? > 0 {
        lines.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        lines.read_exact(&mut last)?;
        if last != *b"\n" {
            lines.write_all(b"\n")?;
        }
    }
    Ok(lines)
}

fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::frame::Size;

    fn keep(store: &mut Store) -> PathBuf {
        let size = Size { width: 2, height: 1 };
        let picture = Picture { size, format: PixelFormat::Gray8, pixels: &[7, 9] };
        let at = Moment {
            mono: Duration::ZERO,
            utc: SystemTime::UNIX_EPOCH + Duration::from_millis(951_782_400_042),
        };
        let part = PartId::new("A1").unwrap();
        store.keep(picture, Appearance::of(picture), (at, Some(&part))).unwrap()
    }

    #[test]
    fn pictures_of_one_moment_lie_beside_one_another_with_a_line_each() {
        let folder = tempfile::tempdir().unwrap();
        let open =
            || Store::open(folder.path(), Path::new("train/good"), CameraId::new("top").unwrap()).unwrap();
        let mut store = open();
        let names = [keep(&mut store), keep(&mut store)];
        // A line cut short by a crash.
        let manifest = folder.path().join("manifest.jsonl");
        OpenOptions::new().append(true).open(&manifest).unwrap().write_all(b"{\"file").unwrap();
        let third = keep(&mut open());
        let file = |name| folder.path().join("train/good").join(name);
        assert_eq!(names, [file("top-20000229T000000042.png"), file("top-20000229T000000042_2.png")]);
        assert_eq!(third, file("top-20000229T000000042_3.png"));
        assert_eq!(fs::read_dir(folder.path().join("train/good")).unwrap().count(), 3);
        let lines = fs::read_to_string(&manifest).unwrap();
        let lines: Vec<_> = lines.lines().collect();
        assert_eq!((lines.len(), lines[2]), (4, "{\"file"));
        assert_eq!(
            lines[0],
            r#"{"file":"train/good/top-20000229T000000042.png","time":"2000-02-29T00:00:00.042Z","camera":"top","part":"A1","width":2,"height":1,"format":"GRAY8","brightness":8.0,"dark":0.0,"bright":0.0,"sharpness":2.0}"#
        );
    }

    #[test]
    fn a_disk_that_takes_no_more_leaves_no_half_file() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("gone/a.png");
        assert!(matches!(write_new(&gone, b"a"), Err(StoreError::Write { .. })));
        let file = folder.path().join("a.png");
        write_new(&file, b"a").unwrap();
        assert!(matches!(write_new(&file, b"b"), Err(StoreError::Exists(_))));
        assert_eq!(fs::read(&file).unwrap(), b"a");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
