//! Adam: Kingma, Ba, 2014, <https://arxiv.org/abs/1412.6980>, algorithm 1, with coupled weight decay.
//!
//! libtorch has one, but keeps its moments to itself: a training could not be continued where it was interrupted.

use tch::Tensor;

use crate::train::parameters::{Parameters, Values};

const BETA: [f64; 2] = [0.9, 0.999];

/// The moments of the gradient, and how many steps they have seen.
#[derive(Debug)]
pub struct Adam {
    pub steps: i32,
    pub first: Values,
    pub second: Values,
}

/// What a step takes from the schedule.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub learning_rate: f64,
    pub epsilon: f64,
    pub weight_decay: f64,
    /// The gradient of all parameters together is cut to this norm.
    pub clip_norm: f64,
}

impl Adam {
    pub fn new(parameters: &Parameters) -> Self {
        Self { steps: 0, first: parameters.zeros(), second: parameters.zeros() }
    }

    /// Moves the parameters along their gradients, which it uses up.
    pub fn step(&mut self, parameters: &mut Parameters, step: Step) {
        let _guard = tch::no_grad_guard();
        self.steps += 1;
        let [beta_1, beta_2] = BETA;
        let bias = BETA.map(|beta| 1.0 - beta.powi(self.steps));
        let cut = clip(parameters, step.clip_norm);
        let moments = self.first.0.iter_mut().zip(&mut self.second.0);
        for (variable, (first, second)) in parameters.variables().iter_mut().zip(moments) {
            let gradient = variable.grad();
            if !gradient.defined() {
                continue;
            }
            let gradient = gradient * cut + &*variable * step.weight_decay;
            // In place; the same tensors come back.
            drop(first.lerp_(&gradient, 1.0 - beta_1));
            drop(second.g_mul_scalar_(beta_2));
            drop(second.addcmul_(&(&gradient * (1.0 - beta_2)), &gradient));
            let spread = second.sqrt() / bias[1].sqrt() + step.epsilon;
            drop(variable.addcdiv_(&(&*first * (-step.learning_rate / bias[0])), &spread));
            variable.zero_grad();
        }
    }
}

/// What the gradients are multiplied by, so that their common norm is at most `norm`.
fn clip(parameters: &mut Parameters, norm: f64) -> f64 {
    let gradients = parameters.variables().iter().map(Tensor::grad).filter(Tensor::defined);
    let norms: Vec<Tensor> = gradients.map(|gradient| gradient.norm()).collect();
    let total = Tensor::stack(&norms, 0).norm().double_value(&[]);
    (norm / (total + 1e-6)).min(1.0)
}

#[cfg(test)]
mod tests {
    use tch::nn::{self, OptimizerConfig, VarStore};
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn it_steps_as_libtorch_does() {
        let stores = [VarStore::new(Device::Cpu), VarStore::new(Device::Cpu)];
        let start = Tensor::from_slice(&[0.3_f32, -1.2, 2.0, 0.0]);
        let variables = stores.each_ref().map(|store| store.root().var_copy("x", &start));
        let target = Tensor::from_slice(&[5.0_f32, -1.0, 2.1, 1e-4]);
        let loss = |x: &Tensor, weight: f64| ((x - &target).square() * weight).sum(Kind::Float);

        let (epsilon, weight_decay, clip_norm) = (1e-4, 1e-2, 1.0);
        let adam = nn::Adam { wd: weight_decay, eps: epsilon, ..Default::default() };
        let mut theirs = adam.build(&stores[0], 0.0).unwrap();
        let mut parameters = Parameters::of(&stores[1]);
        let mut ours = Adam::new(&parameters);
        for step in 1..=50_i32 {
            // Some gradients are cut and some are not.
            let (learning_rate, weight) = (0.01 * f64::from(step % 7 + 1), f64::from(step % 3) * 0.2 + 0.01);
            theirs.set_lr(learning_rate);
            theirs.zero_grad();
            loss(&variables[0], weight).backward();
            theirs.clip_grad_norm(clip_norm);
            theirs.step();
            loss(&variables[1], weight).backward();
            ours.step(&mut parameters, Step { learning_rate, epsilon, weight_decay, clip_norm });
            let difference = (&variables[0] - &variables[1]).abs().max().double_value(&[]);
            assert!(difference < 1e-6, "{difference} after step {step}");
        }
        assert!((&variables[1] - &start).abs().max().double_value(&[]) > 1.0, "it has not moved");
    }
}
