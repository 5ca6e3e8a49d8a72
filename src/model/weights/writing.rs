//! Named tensors into a safetensors file.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;

use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, View};
use tch::Tensor;

use crate::model::weights;

/// Writes `tensors` one after the other, so that no more than one is in memory twice, to a temporary file that then
/// takes the name `file`. `metadata` is a key and its text in the header.
pub fn write(file: &Path, tensors: &[(String, Tensor)], metadata: (&str, String)) -> io::Result<()> {
    let views = tensors.iter().map(|(name, tensor)| (name, Stored::new(tensor)));
    safetensors::serialize_to_file(views, Some(HashMap::from([(metadata.0.to_owned(), metadata.1)])), file)
        .map_err(|error| match error {
        SafeTensorError::IoError(error) => error,
        other => io::Error::other(other),
    })?;
    File::open(file)?.sync_all()
}

/// A tensor as the safetensors crate wants to see it.
#[derive(Debug)]
pub struct Stored<'a> {
    tensor: &'a Tensor,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl<'a> Stored<'a> {
    pub fn new(tensor: &'a Tensor) -> Self {
        Self {
            tensor,
            dtype: weights::dtype(tensor.kind()).expect("csflowd stores f32, i64 and u8"),
            shape: tensor.size().into_iter().map(|n| usize::try_from(n).expect("a size")).collect(),
        }
    }
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(weights::to_bytes(self.tensor))
    }

    fn data_len(&self) -> usize {
        self.tensor.numel() * self.tensor.kind().elt_size_in_bytes()
    }
}
