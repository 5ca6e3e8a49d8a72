//! Features of all training images, extracted once, in an unnamed file.
//!
//! A file always: the page cache keeps it in memory as far as there is room and gives that room back when it is needed
//! elsewhere, so 10,000 images of the largest preset (9 GB) are bounded by the disk alone. It is read by position and
//! not mapped: a batch is gathered from rows all over the file, which is one copy either way, and a read that fails is
//! an error where a mapping ends the process.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use tch::{Device, Kind, Tensor};

use crate::model::Scales;
use crate::train::error::TrainError;

/// Rows of f32: the three feature maps of one picture behind one another.
#[derive(Debug)]
pub struct FeatureStore {
    /// `[C, H, W]` of one picture at each scale.
    shapes: Vec<[i64; 3]>,
    file: File,
}

impl FeatureStore {
    /// A store in `folder` for `rows` pictures with feature maps of these shapes. Their room is taken at once: a
    /// disk that is too small is found before an hour of work.
    pub fn new(folder: &Path, rows: usize, shapes: Vec<[i64; 3]>) -> Result<Self, TrainError> {
        let bytes = rows as u64 * row_bytes(&shapes) as u64;
        let no_room = |source| TrainError::NoRoom { folder: folder.to_owned(), bytes, source };
        let file = tempfile::tempfile_in(folder).map_err(no_room)?;
        match fallocate(&file, FallocateFlags::KEEP_SIZE, 0, bytes) {
            // Some network file systems cannot promise room.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(Self { shapes, file }),
            Err(errno) => Err(no_room(errno.into())),
        }
    }

    /// Appends the features of a batch, each to a row of its own.
    pub fn push(&mut self, features: &[Tensor]) -> io::Result<()> {
        let flat: Vec<Tensor> = features.iter().map(|x| x.flatten(1, -1)).collect();
        let values = Tensor::cat(&flat, 1).to_kind(Kind::Float).to_device(Device::Cpu).contiguous();
        let mut bytes = vec![0; values.numel() * size_of::<f32>()];
        values.copy_data_u8(&mut bytes, values.numel());
        self.file.write_all(&bytes)
    }

    /// The features in these rows, `[B, C, H_s, W_s]` for each scale.
    pub fn batch(&self, rows: &[usize], device: Device) -> io::Result<Scales> {
        let length = row_bytes(&self.shapes);
        let mut bytes = vec![0; rows.len() * length];
        for (&row, place) in rows.iter().zip(bytes.chunks_exact_mut(length)) {
            self.file.read_exact_at(place, row as u64 * length as u64)?;
        }
        let batch = i64::try_from(rows.len()).expect("a batch size");
        let values = i64::try_from(length / size_of::<f32>()).expect("a size");
        let values = Tensor::from_data_size(&bytes, &[batch, values], Kind::Float).to_device(device);
        let mut start = 0;
        let map = |&[channels, height, width]: &[i64; 3]| {
            let length = channels * height * width;
            let map = values.narrow(1, start, length).reshape([batch, channels, height, width]);
            start += length;
            map
        };
        Ok(self.shapes.iter().map(map).collect())
    }
}

fn row_bytes(shapes: &[[i64; 3]]) -> usize {
    let values: i64 = shapes.iter().map(|shape| shape.iter().product::<i64>()).sum();
    usize::try_from(values).expect("a size") * size_of::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPES: [[i64; 3]; 3] = [[2, 4, 4], [2, 2, 2], [2, 1, 1]];

    #[test]
    fn rows_come_back_as_they_were_pushed_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = FeatureStore::new(folder.path(), 4, SHAPES.to_vec()).unwrap();
        tch::manual_seed(3);
        let first = SHAPES.map(|[c, h, w]| Tensor::randn([3, c, h, w], (Kind::Float, Device::Cpu)));
        let second = SHAPES.map(|[c, h, w]| Tensor::randn([1, c, h, w], (Kind::Float, Device::Cpu)));
        store.push(&first).unwrap();
        store.push(&second).unwrap();
        let batch = store.batch(&[3, 0], Device::Cpu).unwrap();
        for s in 0..3 {
            assert_eq!(batch[s].get(0), second[s].get(0));
            assert_eq!(batch[s].get(1), first[s].get(0));
        }
        store.batch(&[4], Device::Cpu).unwrap_err();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the file has a name");
    }

    #[test]
    fn features_for_which_there_is_no_room_are_refused_before_there_are_any() {
        let folder = tempfile::tempdir().unwrap();
        let text = FeatureStore::new(folder.path(), 1 << 40, SHAPES.to_vec()).unwrap_err().to_string();
        assert!(text.contains("features need 184.7 TB in /"), "{text}");
        assert!(FeatureStore::new(&folder.path().join("none"), 1, SHAPES.to_vec()).is_err());
    }
}
