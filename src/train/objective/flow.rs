//! The flow's loss, forward and back. See [`crate::model::flow`].

use tch::{TchError, Tensor};

use crate::cpu::map;
use crate::model::flow::coupling::{Coupling as Plain, LATENT_LIMIT};
use crate::model::network::Network;
use crate::model::{Scales, share};
use crate::train::objective::Learned;
use crate::train::objective::coupling::{Coupling, Halves, Passed};
use crate::train::objective::subnet::{Places, Subnet};
use crate::train::parameters::{Parameters, Values};

#[derive(Debug)]
pub(super) struct Flow<'a> {
    network: &'a Network,
    places: Places,
    /// For each block and scale.
    orders: Vec<Vec<Order>>,
    /// The blocks for batches of one size: the last of an epoch is smaller.
    made: Option<(i64, Vec<Coupling>)>,
}

/// The channel order that a block takes at one scale.
#[derive(Debug)]
struct Order {
    /// `[C_1]` and `[C_2]`: the channels of either half.
    halves: [Tensor; 2],
    /// `[C]`: where each channel has gone.
    inverse: Tensor,
}

/// The way there, for the way back.
struct Way {
    loss: f64,
    latent: Scales,
    blocks: Vec<(Passed, Scales)>,
}

impl<'a> Flow<'a> {
    /// `names` are those of the parameters, in their order.
    pub(super) fn new(network: &'a Network, names: &[String]) -> Self {
        let order = |order: &Vec<i64>| {
            let whole = Tensor::from_slice(order);
            let half = i64::try_from(order.len() / 2).expect("a number of channels");
            let halves = [whole.narrow(0, 0, half), whole.narrow(0, half, whole.size()[0] - half)];
            Order { halves, inverse: whole.argsort(0, false) }
        };
        let orders = network.permutations.iter().map(|orders| orders.iter().map(order).collect()).collect();
        let places = names.iter().enumerate().map(|(place, name)| (name.clone(), place)).collect();
        Self { network, places, orders, made: None }
    }

    /// # Shapes
    /// Raw features, `[B, C_s, H_s, W_s]`.
    pub(super) fn loss(&mut self, parameters: &Parameters, features: &[Tensor]) -> Result<f64, TchError> {
        Ok(self.there(parameters, features)?.loss)
    }

    /// The same, and writes the gradient of the parameters.
    pub(super) fn loss_and_gradient(
        &mut self,
        parameters: &Parameters,
        features: &[Tensor],
        gradient: &Values,
    ) -> Result<f64, TchError> {
        let way = self.there(parameters, features)?;
        let learned = Learned { values: parameters.all(), gradient: &gradient.0 };
        let each = 1.0 / values(&way.latent);
        let latent = way.latent.iter().map(|z| z.f_mul_scalar(each));
        let mut y: Scales = latent.collect::<Result<_, _>>()?;
        let blocks = self.made.as_ref().map_or(&[][..], |(_, blocks)| blocks);
        for (index, (block, (passed, after))) in blocks.iter().zip(&way.blocks).enumerate().rev() {
            let halves = halves_of_gradient(&y, after)?;
            let before = block.backward(learned, passed, halves, -each, index > 0)?;
            if let Some(before) = before {
                let joined = before.first.iter().zip(&before.second).zip(&self.orders[index]);
                let joined = joined.map(|((first, second), order)| {
                    reordered(&Tensor::f_cat(&[first, second], 1)?, &order.inverse)
                });
                y = joined.collect::<Result<_, _>>()?;
            }
        }
        Ok(way.loss)
    }

    fn there(&mut self, parameters: &Parameters, features: &[Tensor]) -> Result<Way, TchError> {
        self.make(features)?;
        let whitened = self.network.whitened(features);
        let mut x: Scales = whitened.iter().map(map::channels_last).collect::<Result<_, _>>()?;
        let (mut blocks, mut log_det) = (Vec::new(), 0.0);
        let made = self.made.as_ref().map_or(&[][..], |(_, blocks)| blocks);
        for (block, orders) in made.iter().zip(&self.orders) {
            let half = |half: usize| {
                let halves = x.iter().zip(orders).map(|(x, order)| reordered(x, &order.halves[half]));
                halves.collect::<Result<Scales, TchError>>()
            };
            let halves = Halves { first: half(0)?, second: half(1)? };
            let (y, of_block, passed) = block.forward(parameters.all(), &halves)?;
            log_det += of_block;
            let joined = y.first.iter().zip(&y.second);
            let joined = joined.map(|(first, second)| {
                Tensor::f_cat(&[first, second], 1)?.f_clamp_(-LATENT_LIMIT, LATENT_LIMIT)
            });
            x = joined.collect::<Result<_, _>>()?;
            blocks.push((passed, share(&x)));
        }
        let mut energy = 0.0;
        for z in &x {
            energy += z.f_square()?.f_sum(tch::Kind::Float)?.f_double_value(&[])? * 0.5;
        }
        #[expect(clippy::cast_precision_loss, reason = "a batch size")]
        let batch = features[0].size()[0] as f64;
        let constant = self.network.whitening.as_ref().map_or(0.0, |whitening| whitening.log_det(features));
        let loss = (energy - log_det - constant * batch) / values(&x);
        Ok(Way { loss, latent: x, blocks })
    }

    /// Makes the blocks for batches of another size.
    fn make(&mut self, features: &[Tensor]) -> Result<(), TchError> {
        let batch = features[0].size()[0];
        if self.made.as_ref().is_some_and(|(made, _)| *made == batch) {
            return Ok(());
        }
        self.made = None;
        let sides: Vec<[i64; 2]> = features.iter().map(|x| [x.size()[2], x.size()[3]]).collect();
        let config = &self.network.architecture.flow;
        let block = |(index, &kernel): (usize, &i64)| {
            let [s1, s2] = Plain::subnets(config, kernel);
            let subnet = |size, name: &str| {
                Subnet::new(size, (batch, &sides), &format!("block.{index}.{name}"), &self.places)
            };
            Ok(Coupling { s1: subnet(&s1, "s1")?, s2: subnet(&s2, "s2")?, clamp: config.clamp })
        };
        let blocks = config.kernels.iter().enumerate().map(block).collect::<Result<_, TchError>>()?;
        self.made = Some((batch, blocks));
        Ok(())
    }
}

/// The channels at `order`, `[n]`.
fn reordered(x: &Tensor, order: &Tensor) -> Result<Tensor, TchError> {
    x.f_permute([0, 2, 3, 1])?.f_index_select(3, order)?.f_permute([0, 3, 1, 2])
}

/// How many there are of a whole batch.
#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 values")]
fn values(latent: &[Tensor]) -> f64 {
    latent.iter().map(|z| z.numel() as f64).sum()
}

/// The gradients of both halves: none where a value was cut.
fn halves_of_gradient(y: &[Tensor], after: &[Tensor]) -> Result<Halves, TchError> {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for (y, after) in y.iter().zip(after) {
        let y = after.f_hardtanh_backward(y, -LATENT_LIMIT, LATENT_LIMIT)?;
        let (channels, half) = (y.size()[1], y.size()[1] / 2);
        first.push(y.f_narrow(1, 0, half)?);
        second.push(y.f_narrow(1, half, channels - half)?);
    }
    Ok(Halves { first, second })
}
