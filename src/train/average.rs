//! The moving average of the parameters: calmer than any single step.

use crate::train::parameters::{Parameters, Values};

/// A copy of the parameters that follows them slowly.
#[derive(Debug)]
pub struct Average {
    memory: f64,
    pub updates: u32,
    pub values: Values,
}

impl Average {
    /// `memory` is the share that an update keeps, once there were enough of them.
    pub fn new(parameters: &Parameters, memory: f64) -> Self {
        Self { memory, updates: 0, values: parameters.values() }
    }

    /// After a step.
    pub fn update(&mut self, parameters: &mut Parameters) {
        let share = self.next_share();
        tch::no_grad(|| {
            for (variable, average) in parameters.variables().iter().zip(&mut self.values.0) {
                // The same tensor comes back.
                drop(average.lerp_(variable, share));
            }
        });
    }

    /// Counts an update, and says what share of the average it replaces. The first ones replace more, so that short runs
    /// are not held back by their start.
    pub fn next_share(&mut self) -> f64 {
        self.updates += 1;
        let updates = f64::from(self.updates);
        1.0 - self.memory.min((1.0 + updates) / (10.0 + updates))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::nn::{Init, VarStore};
    use tch::{Device, Tensor};

    #[test]
    fn the_average_lies_between_and_a_second_swap_undoes_the_first() {
        let store = VarStore::new(Device::Cpu);
        let mut variable: Tensor = store.root().var("x", &[1], Init::Const(0.0));
        let mut parameters = Parameters::of(&store);
        let mut average = Average::new(&parameters, 0.99);
        drop(tch::no_grad(|| variable.fill_(1.0)));
        average.update(&mut parameters);
        parameters.swap(&mut average.values);
        let mean = variable.double_value(&[0]);
        assert!(mean > 0.0 && mean < 1.0, "{mean}");
        parameters.swap(&mut average.values);
        assert_eq!(variable.double_value(&[0]), 1.0);
    }
}
