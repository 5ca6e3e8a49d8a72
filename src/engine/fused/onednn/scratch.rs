//! The memory that the maps of a trunk share: each lies where one that is no longer needed was.

use tch::{Device, Kind, TchError, Tensor};

use crate::model::backbone::stages::{BlockShape, ConvShape};

/// What a map is in its block. Two of the same role are never needed at once.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    /// From block to block.
    Between,
    /// Behind the expansion.
    Expanded,
    /// Behind the depthwise convolution.
    Filtered,
}

/// One place for each role, as large as its largest map.
#[derive(Debug)]
pub(super) struct Scratch {
    /// `[n]` each.
    places: [Tensor; 3],
}

impl Scratch {
    /// For a picture of `side` pixels that goes through the stem and these stages.
    pub(super) fn new(
        stem: &ConvShape,
        stages: &[Vec<BlockShape>],
        side: i64,
        kind: Kind,
    ) -> Result<Self, TchError> {
        let halved = |side: i64, stride: i64| (side + stride - 1) / stride;
        let mut side = halved(side, stem.stride);
        let mut sizes = [stem.output * side * side, 0, 0];
        for block in stages.iter().flatten() {
            let expanded = if block.expansion > 1 { block.wide() * side * side } else { 0 };
            side = halved(side, block.stride);
            let [between, filtered] = [block.output, block.wide()].map(|channels| channels * side * side);
            for (size, needed) in sizes.iter_mut().zip([between, expanded, filtered]) {
                *size = needed.max(*size);
            }
        }
        let place = |size: i64| Tensor::f_zeros([size], (kind, Device::Cpu));
        let [between, expanded, filtered] = sizes;
        Ok(Self { places: [place(between)?, place(expanded)?, place(filtered)?] })
    }

    /// `[1, channels, side, side]`, channels last, where the last one of this role was.
    pub(super) fn map(&self, role: Role, channels: i64, side: i64) -> Result<Tensor, TchError> {
        let place = self.places[role as usize].f_narrow(0, 0, channels * side * side)?;
        place.f_view([1, side, side, channels])?.f_permute([0, 3, 1, 2])
    }

    /// The last map of this role stays as it is: those to come get another place.
    pub(super) fn keep(&mut self, role: Role) -> Result<(), TchError> {
        let place = &mut self.places[role as usize];
        *place = place.f_zeros_like()?;
        Ok(())
    }
}
