//! The moving average of the parameters: calmer than any single step.

use tch::Tensor;
use tch::nn::VarStore;

/// A copy of each trainable variable that follows it slowly.
#[derive(Debug)]
pub struct Average {
    memory: f64,
    updates: u32,
    /// Each variable and its average.
    pairs: Vec<(Tensor, Tensor)>,
}

impl Average {
    /// `memory` is the share that an update keeps, once there were enough of them.
    pub fn new(store: &VarStore, memory: f64) -> Self {
        let pair = |variable: Tensor| {
            let average = variable.detach().copy();
            (variable, average)
        };
        Self { memory, updates: 0, pairs: store.trainable_variables().into_iter().map(pair).collect() }
    }

    /// After a step. The first updates forget faster, so that short runs are not held back by their start.
    pub fn update(&mut self) {
        self.updates += 1;
        let updates = f64::from(self.updates);
        let memory = self.memory.min((1.0 + updates) / (10.0 + updates));
        tch::no_grad(|| {
            for (variable, average) in &mut self.pairs {
                // The same tensor comes back.
                drop(average.lerp_(variable, 1.0 - memory));
            }
        });
    }

    /// Puts the averages into the variables and the variables' values aside, or back.
    pub fn swap(&mut self) {
        tch::no_grad(|| {
            for (variable, average) in &mut self.pairs {
                let aside = variable.copy();
                variable.copy_(average);
                average.copy_(&aside);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, nn::Init};

    #[test]
    fn the_average_lies_between_and_a_second_swap_undoes_the_first() {
        let store = VarStore::new(Device::Cpu);
        let mut variable = store.root().var("x", &[1], Init::Const(0.0));
        let mut average = Average::new(&store, 0.99);
        drop(tch::no_grad(|| variable.fill_(1.0)));
        average.update();
        average.swap();
        let mean = variable.double_value(&[0]);
        assert!(mean > 0.0 && mean < 1.0, "{mean}");
        average.swap();
        assert_eq!(variable.double_value(&[0]), 1.0);
    }
}
