//! Features of all training images, extracted once: in memory, or in an unnamed file when they are large.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;

use tch::{Device, Kind, Tensor};

use crate::model::Scales;

/// Up to this many bytes stay in memory.
const MEMORY_LIMIT: u64 = 4 << 30;

/// Rows of f32: the feature maps of one image behind one another.
#[derive(Debug)]
pub struct FeatureStore {
    /// `[C, H, W]` of one image at each scale.
    shapes: Vec<[i64; 3]>,
    rows: Rows,
}

#[derive(Debug)]
enum Rows {
    Memory(Vec<f32>),
    File(File),
}

impl FeatureStore {
    /// A store for `images` images with feature maps of these shapes.
    pub fn new(images: usize, shapes: Vec<[i64; 3]>) -> std::io::Result<Self> {
        let row = row_values(&shapes);
        let bytes = images as u64 * row as u64 * 4;
        let rows = if bytes <= MEMORY_LIMIT {
            Rows::Memory(Vec::with_capacity(images * row))
        } else {
            Rows::File(unnamed_file()?)
        };
        Ok(Self { shapes, rows })
    }

    /// Where the features are, for people.
    pub fn place(&self) -> &'static str {
        match self.rows {
            Rows::Memory(_) => "in memory",
            Rows::File(_) => "on disk",
        }
    }

    /// Appends the features of a batch.
    pub fn push(&mut self, features: &[Tensor]) -> std::io::Result<()> {
        let batch = features[0].size()[0];
        let flat: Scales = features.iter().map(|x| x.flatten(1, -1)).collect();
        let values = Tensor::cat(&flat, 1).to_kind(Kind::Float).to_device(Device::Cpu).contiguous();
        let count = row_values(&self.shapes) * usize::try_from(batch).expect("a batch size");
        let mut buffer = vec![0.0_f32; count];
        values.copy_data(&mut buffer, count);
        match &mut self.rows {
            Rows::Memory(all) => all.extend_from_slice(&buffer),
            Rows::File(file) => {
                let bytes: Vec<u8> = buffer.iter().flat_map(|value| value.to_le_bytes()).collect();
                file.write_all(&bytes)?;
            }
        }
        Ok(())
    }

    /// The features of the images at these positions, `[B, C_s, H_s, W_s]` for each scale.
    pub fn batch(&self, positions: &[usize], device: Device) -> std::io::Result<Scales> {
        let row = row_values(&self.shapes);
        let mut values = Vec::with_capacity(positions.len() * row);
        for &position in positions {
            match &self.rows {
                Rows::Memory(all) => values.extend_from_slice(&all[position * row..(position + 1) * row]),
                Rows::File(file) => {
                    let mut bytes = vec![0; row * 4];
                    file.read_exact_at(&mut bytes, position as u64 * row as u64 * 4)?;
                    let (words, _) = bytes.as_chunks::<4>();
                    values.extend(words.iter().map(|&word| f32::from_le_bytes(word)));
                }
            }
        }
        let batch = i64::try_from(positions.len()).expect("a batch size");
        let values = Tensor::from_slice(&values).view([batch, -1]).to_device(device);
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

fn row_values(shapes: &[[i64; 3]]) -> usize {
    let values: i64 = shapes.iter().map(|shape| shape.iter().product::<i64>()).sum();
    usize::try_from(values).expect("a size")
}

/// A file without a name: it vanishes with its last handle, however the process ends.
fn unnamed_file() -> std::io::Result<File> {
    let path = std::env::temp_dir().join(format!("csflowd-features-{}", std::process::id()));
    let file = File::options().read(true).append(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPES: [[i64; 3]; 3] = [[2, 4, 4], [3, 2, 2], [5, 1, 1]];

    fn check(mut store: FeatureStore) {
        tch::manual_seed(3);
        let first = SHAPES.map(|[c, h, w]| Tensor::randn([3, c, h, w], (Kind::Float, Device::Cpu)));
        let second = SHAPES.map(|[c, h, w]| Tensor::randn([1, c, h, w], (Kind::Float, Device::Cpu)));
        store.push(&first).unwrap();
        store.push(&second).unwrap();
        let batch = store.batch(&[3, 0], Device::Cpu).unwrap();
        for s in 0..SHAPES.len() {
            assert_eq!(batch[s].get(0), second[s].get(0));
            assert_eq!(batch[s].get(1), first[s].get(0));
        }
    }

    #[test]
    fn memory_and_file_give_back_what_was_pushed() {
        check(FeatureStore { shapes: SHAPES.to_vec(), rows: Rows::Memory(Vec::new()) });
        check(FeatureStore { shapes: SHAPES.to_vec(), rows: Rows::File(unnamed_file().unwrap()) });
    }
}
