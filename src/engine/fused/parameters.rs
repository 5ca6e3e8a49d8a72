//! The parameters of a network by the names under which its bundle holds them.

use std::collections::HashMap;

use tch::{TchError, Tensor, nn};

use crate::engine::fused::folded::{Folded, Norm};
use crate::model::backbone::stages::NORM_EPSILON;

#[derive(Debug)]
pub(super) struct Parameters(HashMap<String, Tensor>);

impl Parameters {
    pub(super) fn of(store: &nn::VarStore) -> Self {
        Self(store.variables())
    }

    pub(super) fn get(&self, name: &str) -> Result<&Tensor, TchError> {
        self.0
            .get(name)
            .ok_or_else(|| TchError::TensorNameNotFound(name.to_owned(), "the network".to_owned()))
    }

    /// A convolution with its bias.
    pub(super) fn convolution(&self, path: &str) -> Result<Folded, TchError> {
        Folded::new(self.get(&format!("{path}.weight"))?, Some(self.get(&format!("{path}.bias"))?))
    }

    /// A convolution without bias and the batch norm that follows it.
    pub(super) fn normalised(&self, layer: &Layer) -> Result<Folded, TchError> {
        let part =
            |name: &str| Ok::<_, TchError>(self.get(&format!("{}.{name}", layer.norm))?.shallow_clone());
        let norm = Norm {
            weight: part("weight")?,
            bias: part("bias")?,
            mean: part("running_mean")?,
            variance: part("running_var")?,
            epsilon: NORM_EPSILON,
        };
        Folded::new(self.get(&format!("{}.weight", layer.convolution))?, None)?.then_norm(&norm)
    }
}

/// Where a convolution and its batch norm are.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) convolution: String,
    pub(super) norm: String,
}
