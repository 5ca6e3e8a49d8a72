//! The parts of a bundle that are not plain parameters, each compared with what the manifest says of it.
//!
//! Errors are texts that name the tensor; the caller adds the file.

use tch::{Kind, Tensor};

use crate::model::Scales;
use crate::model::bundle::manifest::Manifest;
use crate::model::flow::{FlowConfig, Permutation};
use crate::model::score::area::Grids;
use crate::model::score::places::Places;
use crate::model::weights::{self, Weights};
use crate::model::whitening::Whitening;

/// A few bytes can claim a flow of many gigabytes: whether this one is as large as its tensors are.
pub(super) fn compare_sizes(manifest: &Manifest, flow: &Weights) -> Result<(), String> {
    let claimed = manifest.architecture.flow.values();
    let found = flow.values();
    if claimed == found {
        Ok(())
    } else {
        Err(format!("architecture.flow: makes a flow of {claimed} values, but the tensors hold {found}"))
    }
}

pub(super) fn permutations(manifest: &Manifest, stored: &Weights) -> Result<Vec<Permutation>, String> {
    let FlowConfig { channels, kernels, .. } = &manifest.architecture.flow;
    let (blocks, scales) = (kernels.len(), channels.len());
    if stored.tensors.len() != blocks * scales {
        return Err(format!("{} permutations for {blocks} blocks of {scales} scales", stored.tensors.len()));
    }
    let order = |name: String, channels: i64| {
        let order: Vec<i64> = stored
            .tensors
            .get(&name)
            .filter(|t| t.kind() == Kind::Int64)
            .and_then(|t| Vec::try_from(t).ok())
            .ok_or_else(|| format!("tensor permutation.{name} is missing or not a list of i64"))?;
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..channels) {
            return Err(format!("tensor permutation.{name} is not an order of {channels} channels"));
        }
        Ok(order)
    };
    let block = |k: usize| {
        channels.iter().enumerate().map(|(s, &channels)| order(format!("{k}.{s}"), channels)).collect()
    };
    (0..blocks).map(block).collect()
}

pub(super) fn whitening(manifest: &Manifest, stored: &mut Weights) -> Result<Option<Whitening>, String> {
    let channels = &manifest.architecture.flow.channels;
    if !manifest.architecture.whitened {
        return if stored.tensors.is_empty() {
            Ok(None)
        } else {
            Err("whitening where none is declared".into())
        };
    }
    let mut take = |kind: &str, dimensions: usize| -> Result<Scales, String> {
        let mut one = |(s, &c): (usize, &i64)| {
            let (name, size) = (format!("{kind}.{s}"), vec![c; dimensions]);
            let tensor =
                stored.tensors.remove(&name).ok_or_else(|| format!("tensor whitening.{name} is missing"))?;
            let fits = tensor.size() == size && tensor.kind() == Kind::Float && weights::is_finite(&tensor);
            if fits { Ok(tensor) } else { Err(format!("tensor whitening.{name} is not {size:?} finite f32")) }
        };
        channels.iter().enumerate().map(&mut one).collect()
    };
    let whitening = Whitening::new(take("mean", 1)?, take("matrix", 2)?);
    if stored.tensors.is_empty() { Ok(Some(whitening)) } else { Err("too many whitening tensors".into()) }
}

/// Centre and deviation of each cell, where the scoring uses positions.
pub(super) fn places(manifest: &Manifest, stored: &mut Weights) -> Result<Option<Places>, String> {
    if !manifest.scoring.positions.used {
        return if stored.tensors.is_empty() {
            Ok(None)
        } else {
            Err("position statistics where none are declared".into())
        };
    }
    let grids = Grids::of(&manifest.architecture).cells;
    let mut take = |kind: &str| -> Result<Vec<Tensor>, String> {
        let mut one = |(s, grid): (usize, &[i64; 2])| {
            let name = format!("{kind}.{s}");
            let tensor = stored.tensors.remove(&name);
            tensor
                .filter(|t| t.size() == grid && t.kind() == Kind::Float && weights::is_finite(t))
                .ok_or_else(|| format!("tensor scoring.{name} is missing or not {grid:?} finite f32"))
        };
        grids.iter().enumerate().map(&mut one).collect()
    };
    let places = Places { centre: take("centre")?, deviation: take("deviation")? };
    let is_positive = |deviation: &Tensor| deviation.min().double_value(&[]) > 0.0;
    if !places.deviation.iter().all(is_positive) {
        return Err("tensors scoring.deviation must be positive".into());
    }
    if stored.tensors.is_empty() { Ok(Some(places)) } else { Err("too many position statistics".into()) }
}

pub(super) fn self_test(manifest: &Manifest, stored: &mut Weights) -> Result<Vec<Tensor>, String> {
    let expected = manifest.self_test.scores.len();
    if stored.tensors.len() != expected {
        return Err(format!("{} self-test pictures for {expected} scores", stored.tensors.len()));
    }
    let side = manifest.architecture.input_px;
    (0..expected)
        .map(|i| {
            let tensor = stored.tensors.remove(&i.to_string());
            tensor
                .filter(|t| t.size() == [1, 3, side, side] && t.kind() == Kind::Uint8)
                .ok_or_else(|| format!("tensor self_test.{i} is missing or not [1, 3, {side}, {side}] u8"))
        })
        .collect()
}
