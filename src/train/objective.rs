//! What training makes smaller: the flow's loss on a batch, and the gradient of it.
//!
//! On the CPU the way back is written out by hand on oneDNN's convolutions, where it takes a fraction of the time that
//! libtorch takes to find it: libtorch re-orders maps and weights around each convolution. Elsewhere libtorch finds it.

mod coupling;
mod flow;
mod subnet;
#[cfg(test)]
mod tests;

use tch::{Device, TchError, Tensor};

use crate::cpu;
use crate::model::flow::loss;
use crate::model::network::Network;
use crate::train::objective::flow::Flow;
use crate::train::parameters::{Parameters, Values};

/// The loss of a network's flow by its parameters.
#[derive(Debug)]
pub struct Objective<'a> {
    network: &'a Network,
    /// Of the batch that came last, in the order of the parameters.
    pub gradient: Values,
    /// None: libtorch finds the way back.
    by_hand: Option<Flow<'a>>,
}

impl<'a> Objective<'a> {
    /// `parameters` are those of the network's flow.
    pub fn new(network: &'a Network, parameters: &Parameters) -> Self {
        if network.device() == Device::Cpu && cpu::is_available() {
            let by_hand = Some(Flow::new(network, parameters.names()));
            Self { network, gradient: parameters.zeros(), by_hand }
        } else {
            Self::by_libtorch(network)
        }
    }

    fn by_libtorch(network: &'a Network) -> Self {
        Self { network, gradient: Values(Vec::new()), by_hand: None }
    }

    pub fn device(&self) -> Device {
        self.network.device()
    }

    /// The loss alone.
    ///
    /// # Shapes
    /// Raw features, `[B, C_s, H_s, W_s]`.
    pub fn loss(&mut self, parameters: &Parameters, features: &[Tensor]) -> Result<f64, TchError> {
        let _guard = tch::no_grad_guard();
        match &mut self.by_hand {
            Some(flow) => flow.loss(parameters, features),
            None => plain(self.network, features).f_double_value(&[]),
        }
    }

    /// The loss, whose gradient is then in `gradient`. That says nothing where the loss is not finite.
    pub fn descend(&mut self, parameters: &mut Parameters, features: &[Tensor]) -> Result<f64, TchError> {
        if let Some(flow) = &mut self.by_hand {
            let _guard = tch::no_grad_guard();
            return flow.loss_and_gradient(parameters, features, &self.gradient);
        }
        for variable in parameters.variables() {
            variable.zero_grad();
        }
        let loss = plain(self.network, features);
        loss.f_backward()?;
        self.gradient = Values(parameters.variables().iter().map(Tensor::grad).collect());
        loss.f_double_value(&[])
    }
}

/// Parameters in their order, and where their gradients go.
#[derive(Clone, Copy)]
struct Learned<'a> {
    values: &'a [Tensor],
    gradient: &'a [Tensor],
}

fn plain(network: &Network, features: &[Tensor]) -> Tensor {
    let (latent, log_det) = network.latent(features);
    loss(&latent, &log_det)
}
