//! One convolution of the plan, packed by oneDNN.

use tch::{Kind, TchError, Tensor};

use crate::cpu::inference;
use crate::cpu::{Activation, Shape};
use crate::engine::fused::folded::{Folded, Geometry};

/// A convolution that is ready to run, for inputs of one size.
#[derive(Debug)]
pub(super) struct Convolution {
    made: inference::Convolution,
    /// The map that it writes.
    y: Tensor,
}

/// Where a convolution's output goes: a map of its size.
#[derive(Debug)]
pub(super) enum Output {
    /// In place of what is there.
    To(Tensor),
    /// Added to what is there.
    Onto(Tensor),
}

impl Convolution {
    /// For inputs of `size`, `[1, C, H, W]`, in `kind`; for as many threads as there are now.
    pub(super) fn new(
        folded: &Folded,
        by: Geometry,
        activation: Activation,
        (size, kind): ([i64; 4], Kind),
        output: Output,
    ) -> Result<Self, TchError> {
        let (y, adds) = match output {
            Output::To(y) => (y, false),
            Output::Onto(y) => (y, true),
        };
        let [batch, input, height, width] = size;
        let shape = Shape {
            batch,
            input,
            height,
            width,
            output: folded.bias.size()[0],
            kernel: folded.weight.size()[3],
            stride: by.stride,
            groups: by.groups,
            pad_before: by.padding.0,
            pad_after: by.padding.1,
            bf16_in: kind == Kind::BFloat16,
            bf16_out: y.kind() == Kind::BFloat16,
            adds,
        };
        Ok(Self { made: inference::Convolution::new(shape, activation, &folded.weight, &folded.bias)?, y })
    }

    /// The output stays until the next call of this or of another that has the same map for its output.
    ///
    /// # Shapes
    /// `[1, I, H, W]` to `[1, O, H', W']`, both channels last.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        self.made.run(x, &self.y)?;
        Ok(self.y.shallow_clone())
    }

    /// The same, added to `y`, which is what lies in the map that it was made for.
    pub(super) fn forward_onto(&self, x: &Tensor, y: &Tensor) -> Result<Tensor, TchError> {
        debug_assert_eq!(self.y.data_ptr(), y.data_ptr(), "it adds to its own map");
        self.forward(x)
    }
}

#[cfg(test)]
mod tests;
