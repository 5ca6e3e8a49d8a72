//! Adam: Kingma, Ba, 2014, <https://arxiv.org/abs/1412.6980>, algorithm 1, with coupled weight decay.
//!
//! libtorch has one, but keeps its moments to itself: a training could not be continued where it was interrupted. On the CPU a
//! step is one pass over the memory, where libtorch's own operations would take a dozen.

use tch::{Device, Tensor};

use crate::cpu;
use crate::cpu::adam::{Numbers, Variable};
use crate::train::average::Average;
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

    /// Moves the parameters along their gradient, and the average after them.
    pub fn step(
        &mut self,
        parameters: &mut Parameters,
        gradient: &Values,
        average: Option<&mut Average>,
        step: Step,
    ) {
        self.steps += 1;
        let is_flat = |tensor: &Tensor| tensor.device() == Device::Cpu && tensor.is_contiguous();
        if parameters.all().iter().chain(&gradient.0).all(is_flat) {
            self.in_one_pass(parameters, gradient, average, step);
        } else {
            self.by_libtorch(parameters, gradient, step);
            if let Some(average) = average {
                average.update(parameters);
            }
        }
    }

    fn in_one_pass(
        &mut self,
        parameters: &mut Parameters,
        gradient: &Values,
        mut average: Option<&mut Average>,
        step: Step,
    ) {
        let following = average.as_mut().map_or(0.0, |average| average.next_share());
        let average = average.as_deref();
        let variable = |(index, value)| Variable {
            value,
            gradient: &gradient.0[index],
            first: &self.first.0[index],
            second: &self.second.0[index],
            average: average.map(|average| &average.values.0[index]),
        };
        let variables: Vec<Variable<'_>> = parameters.all().iter().enumerate().map(variable).collect();
        let bias = BETA.map(|beta| 1.0 - beta.powi(self.steps));
        let numbers = Numbers {
            cut: cut(cpu::adam::norm(&variables), step.clip_norm),
            weight_decay: step.weight_decay,
            first: 1.0 - BETA[0],
            second: 1.0 - BETA[1],
            learning_rate: step.learning_rate / bias[0],
            spread: bias[1].sqrt().recip(),
            epsilon: step.epsilon,
            average: following,
        };
        cpu::adam::step(&numbers, &variables);
    }

    fn by_libtorch(&mut self, parameters: &mut Parameters, gradient: &Values, step: Step) {
        let _guard = tch::no_grad_guard();
        let [beta_1, beta_2] = BETA;
        let bias = BETA.map(|beta| 1.0 - beta.powi(self.steps));
        let norms: Vec<Tensor> = gradient.0.iter().map(Tensor::norm).collect();
        let cut = cut(Tensor::stack(&norms, 0).norm().double_value(&[]), step.clip_norm);
        let moments = self.first.0.iter_mut().zip(&mut self.second.0);
        let variables = parameters.variables().iter_mut().zip(&gradient.0);
        for ((variable, gradient), (first, second)) in variables.zip(moments) {
            let gradient = gradient * cut + &*variable * step.weight_decay;
            // In place; the same tensors come back.
            drop(first.lerp_(&gradient, 1.0 - beta_1));
            drop(second.g_mul_scalar_(beta_2));
            drop(second.addcmul_(&(&gradient * (1.0 - beta_2)), &gradient));
            let spread = second.sqrt() / bias[1].sqrt() + step.epsilon;
            drop(variable.addcdiv_(&(&*first * (-step.learning_rate / bias[0])), &spread));
        }
    }
}

/// What a gradient of this norm is multiplied by, so that it is at most `most`.
fn cut(norm: f64, most: f64) -> f64 {
    (most / (norm + 1e-6)).min(1.0)
}

#[cfg(test)]
mod tests {
    use tch::Kind;
    use tch::nn::{self, OptimizerConfig, VarStore};

    use super::*;

    #[test]
    fn it_steps_as_libtorch_does() {
        steps_as_libtorch_does(|adam, parameters, gradient, step| {
            adam.step(parameters, gradient, None, step);
        });
        steps_as_libtorch_does(|adam, parameters, gradient, step| {
            adam.steps += 1;
            adam.by_libtorch(parameters, gradient, step);
        });
    }

    fn steps_as_libtorch_does(take: impl Fn(&mut Adam, &mut Parameters, &Values, Step)) {
        let stores = [VarStore::new(Device::Cpu), VarStore::new(Device::Cpu)];
        // More than a register holds.
        let start = Tensor::from_slice(&[0.3_f32, -1.2, 2.0, 0.0]).repeat([5]);
        let variables = stores.each_ref().map(|store| store.root().var_copy("x", &start));
        let target = Tensor::from_slice(&[5.0_f32, -1.0, 2.1, 1e-4]).repeat([5]);
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
            parameters.variables()[0].zero_grad();
            loss(&variables[1], weight).backward();
            let gradient = Values(vec![variables[1].grad()]);
            let taken = Step { learning_rate, epsilon, weight_decay, clip_norm };
            take(&mut ours, &mut parameters, &gradient, taken);
            let difference = (&variables[0] - &variables[1]).abs().max().double_value(&[]);
            assert!(difference < 1e-6, "{difference} after step {step}");
        }
        assert!((&variables[1] - &start).abs().max().double_value(&[]) > 1.0, "it has not moved");
    }

    #[test]
    fn the_average_follows_the_same_way_in_one_pass() {
        let store = VarStore::new(Device::Cpu);
        let start = Tensor::arange(37, (Kind::Float, Device::Cpu));
        drop(store.root().var_copy("x", &start));
        let mut parameters = Parameters::of(&store);
        let mut adam = Adam::new(&parameters);
        let [mut ours, mut theirs] = [(), ()].map(|()| Average::new(&parameters, 0.9));
        let step = Step { learning_rate: 0.1, epsilon: 1e-8, weight_decay: 0.0, clip_norm: 1.0 };
        for _ in 0..5 {
            adam.step(&mut parameters, &Values(vec![start.shallow_clone()]), Some(&mut ours), step);
            theirs.update(&mut parameters);
        }
        let difference = (&ours.values.0[0] - &theirs.values.0[0]).abs().max().double_value(&[]);
        assert!(difference < 1e-5, "{difference}");
        assert_eq!(ours.updates, theirs.updates);
    }
}
