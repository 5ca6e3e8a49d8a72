//! The trainable parameters of a flow in a fixed order, and sets of values for them.

use tch::Tensor;
use tch::nn::VarStore;

/// The variables themselves, by name.
#[derive(Debug)]
pub struct Parameters {
    names: Vec<String>,
    variables: Vec<Tensor>,
}

/// One tensor for each variable, in the same order.
#[derive(Debug)]
pub struct Values(pub Vec<Tensor>);

impl Parameters {
    pub fn of(store: &VarStore) -> Self {
        let mut named: Vec<(String, Tensor)> =
            store.variables().into_iter().filter(|(_, variable)| variable.requires_grad()).collect();
        named.sort_by(|one, other| one.0.cmp(&other.0));
        let (names, variables) = named.into_iter().unzip();
        Self { names, variables }
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// In the order of their names.
    pub fn all(&self) -> &[Tensor] {
        &self.variables
    }

    pub fn variables(&mut self) -> &mut [Tensor] {
        &mut self.variables
    }

    /// A copy of what they hold.
    pub fn values(&self) -> Values {
        Values(self.variables.iter().map(|variable| variable.detach().copy()).collect())
    }

    pub fn zeros(&self) -> Values {
        Values(self.variables.iter().map(Tensor::zeros_like).map(|zeros| zeros.detach()).collect())
    }

    /// Gives them other values.
    pub fn set(&mut self, values: &Values) {
        tch::no_grad(|| {
            for (variable, value) in self.variables.iter_mut().zip(&values.0) {
                variable.copy_(value);
            }
        });
    }

    /// Puts `values` into the variables and theirs aside, or back.
    pub fn swap(&mut self, values: &mut Values) {
        let aside = self.values();
        self.set(values);
        *values = aside;
    }
}
