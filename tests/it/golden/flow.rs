//! Flow, loss, gradients and ten training steps, against the research code.

use csflowd::model::flow::{self, Flow, FlowConfig, Permutation};
use csflowd::model::weights::Weights;
use csflowd::model::{Scales, score};
use tch::nn::{self, OptimizerConfig};
use tch::{Device, Kind, Tensor};

use super::{Golden, largest};

pub(super) fn check(golden: &Golden) {
    let kernels: Vec<i64> = serde_json::from_str(golden.text("kernel_sizes")).unwrap();
    let blocks: usize = golden.number("blocks");
    assert_eq!(kernels.len(), blocks);
    let config = FlowConfig {
        channels: vec![golden.number("n_feat"); 3],
        hidden: golden.number("hidden"),
        kernels,
        cross_scale: true,
        clamp: golden.number("clamp"),
    };
    let permutations: Vec<Permutation> = (0..blocks)
        .map(|k| (0..3).map(|s| order(golden.tensor(&format!("block.{k}.permute.{s}")))).collect())
        .collect();
    let store = nn::VarStore::new(Device::Cpu);
    let flow = Flow::new(&store.root(), &config, &permutations);
    parameters(golden).load_into(&store, |_| false).unwrap();
    let input: Scales = (0..3).map(|s| golden.tensor(&format!("input.{s}")).shallow_clone()).collect();

    forward_and_inverse(golden, &flow, &input);
    ten_steps(golden, &store, &flow, &input);
}

fn order(tensor: &Tensor) -> Vec<i64> {
    Vec::try_from(tensor).unwrap()
}

fn parameters(golden: &Golden) -> Weights {
    let named = golden.0.tensors.iter().filter(|(n, _)| n.starts_with("block.") && !n.contains(".permute."));
    Weights {
        file: golden.0.file.clone(),
        tensors: named.map(|(n, t)| (n.clone(), t.shallow_clone())).collect(),
        metadata: std::collections::HashMap::new(),
    }
}

fn forward_and_inverse(golden: &Golden, flow: &Flow, input: &[Tensor]) {
    let _guard = tch::no_grad_guard();
    let (latent, log_det) = flow.forward(input);
    let maps = score::cell_maps(&latent);
    for s in 0..3 {
        golden.assert_close(&format!("z.{s}"), &latent[s], 1e-4);
        golden.assert_close(&format!("logdet.{s}"), &log_det[s], 1e-4);
        let map = format!("map.{s}");
        golden.assert_close(&map, &maps[s], 1e-4 * largest(golden.tensor(&map)).max(1.0));
    }
    golden.assert_close("score", &score::mean_score(&latent), 1e-4);
    golden.assert_close("loss", &flow::loss(&latent, &log_det).view([1]), 1e-4);

    let back = flow.inverse(&latent);
    for s in 0..3 {
        let error = largest(&(&back[s] - &input[s]));
        assert!(error <= 1e-4, "the inverse misses the input at scale {s} by {error:e}");
    }
}

fn ten_steps(golden: &Golden, store: &nn::VarStore, flow: &Flow, input: &[Tensor]) {
    let adam = nn::Adam { wd: 1e-5, eps: 1e-4, ..Default::default() };
    let mut optimiser = adam.build(store, 2e-4).unwrap();
    let expected: Vec<f64> = Vec::try_from(golden.tensor("losses").to_kind(Kind::Double)).unwrap();
    for (step, expected) in expected.into_iter().enumerate() {
        let (latent, log_det) = flow.forward(input);
        let loss = flow::loss(&latent, &log_det);
        let ours = loss.double_value(&[]);
        let error = (ours - expected).abs() / expected.abs();
        assert!(error <= 1e-5, "loss at step {step} is {ours}, golden {expected}: off by {error:e}");
        optimiser.zero_grad();
        loss.backward();
        if step == 0 {
            gradients(golden, store);
        }
        optimiser.clip_grad_norm(1.0);
        optimiser.step();
    }
}

fn gradients(golden: &Golden, store: &nn::VarStore) {
    let variables = store.variables();
    let mut compared = 0;
    for name in golden.0.tensors.keys().filter_map(|name| name.strip_prefix("grad.")) {
        golden.assert_close(&format!("grad.{name}"), &variables[name].grad(), 1e-4);
        compared += 1;
    }
    assert!(compared > 0, "no gradients in the file");
    let squares: f64 =
        store.trainable_variables().iter().map(|v| v.grad().norm().double_value(&[]).powi(2)).sum();
    golden.assert_close(
        "grad_norm",
        &Tensor::from_slice(&[squares.sqrt()]).view_as(golden.tensor("grad_norm")),
        1e-4,
    );
}
