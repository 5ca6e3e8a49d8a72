//! What a backbone computes beside the products of its pointwise convolutions.
//!
//! Maps are `[B, S, S, C]` with an even number of channels, in the kind that the kernels are for; what is added, and the
//! weights of depthwise convolutions, are in f32.

use tch::{Kind, TchError, Tensor};

use super::{Kernels, LANES, Text, WARPS, blocks, int};
use crate::cuda::Target;

/// Outputs of a thread of the stem: pixels in a row, and channels.
const COLUMNS: i64 = 4;
const WIDE: i64 = 8;

/// Blocks that keep a large device busy.
const BUSY: i64 = 2048;

/// The fewest and the most whose sums are worth adding up.
const PARTS: (i64, i64) = (64, 768);

#[derive(Debug)]
pub struct TrunkKernels {
    kernels: Kernels,
    activation: TrunkActivation,
}

/// What is done to a value behind a convolution.
#[derive(Clone, Copy, Debug)]
pub enum TrunkActivation {
    Relu6 = 1,
    Silu = 2,
}

/// A 3x3 convolution with stride 2 of pictures, and the activation.
#[derive(Debug)]
pub struct Stem {
    /// `[3, 3, 3, C]`: row, column and channel of the picture.
    pub weight: Tensor,
    /// `[C]`.
    pub bias: Tensor,
    /// Zeros before the first row and column.
    pub pad: i64,
}

/// A convolution of each channel by itself, and the activation.
#[derive(Debug)]
pub struct Depthwise {
    /// `[C]`, added to the input.
    pub before: Tensor,
    /// Whether the activation comes then.
    pub is_activated: bool,
    /// `[k, k, C]`; k is 3 or 5.
    pub weight: Tensor,
    /// `[C]`, added to the output.
    pub after: Tensor,
    /// Zeros before the first row and column.
    pub pad: i64,
    /// 1 or 2.
    pub stride: i64,
}

/// What each channel of a map counts, for each picture: a matrix, SiLU, a matrix and a sigmoid of the channels' means.
#[derive(Debug)]
pub struct Excitation {
    /// `[S, C]`.
    pub squeeze: Tensor,
    /// `[S]`, f32.
    pub squeeze_bias: Tensor,
    /// `[S, C]`.
    pub excite: Tensor,
    /// `[C]`, f32.
    pub excite_bias: Tensor,
}

#[repr(C)]
struct StemArguments {
    x: *const f32,
    y: *mut u8,
    weight: *const f32,
    bias: *const f32,
    side: i32,
    step: i32,
    out: i32,
    pad: i32,
    channels: i32,
    activation: i32,
    count: i32,
}

#[repr(C)]
struct DepthwiseArguments {
    x: *const u8,
    y: *mut u8,
    sums: *mut f32,
    before: *const f32,
    weight: *const f32,
    after: *const f32,
    side: i32,
    out: i32,
    pad: i32,
    channels: i32,
    is_activated: i32,
    activation: i32,
}

#[repr(C)]
struct AverageArguments {
    sums: *const f32,
    y: *mut f32,
    parts: i32,
    channels: i32,
    share: f32,
}

#[repr(C)]
struct SqueezeArguments {
    x: *const f32,
    weight: *const u8,
    bias: *const f32,
    y: *mut f32,
    channels: i32,
    outputs: i32,
}

#[repr(C)]
struct ExciteArguments {
    x: *const f32,
    weight: *const u8,
    bias: *const f32,
    project: *const u8,
    y: *mut u8,
    squeezed: i32,
    channels: i32,
    outputs: i32,
    shares: i32,
}

impl TrunkKernels {
    /// For maps of f32, f16 or bf16.
    pub fn new(element: Kind, activation: TrunkActivation, target: &Target) -> Result<Self, TchError> {
        let options = [format!("-DACTIVATION={}", activation as i32)];
        Ok(Self { kernels: Kernels::new(Text::Trunk, element, &options, target)?, activation })
    }

    /// Of every `step`-th pixel in both directions.
    ///
    /// # Shapes
    /// `[B, S, S, 3]`, f32, to `[B, S', S', C]`, S' half of S / step, rounded up.
    #[expect(unsafe_code, reason = "a kernel gets pointers")]
    pub fn stem(&self, x: &Tensor, step: i64, by: &Stem) -> Result<Tensor, TchError> {
        let kernels = &self.kernels;
        let [batch, side] = picture(x)?;
        let channels = by.bias.size()[0];
        if channels % WIDE != 0 {
            return Err(TchError::Shape(format!("a stem of {channels} channels, not a multiple of {WIDE}")));
        }
        if step < 1 || side % step != 0 {
            return Err(TchError::Shape(format!("every {step}th of {side} pixels")));
        }
        let out = (side / step + 1) / 2;
        let y = kernels.empty(&[batch, out, out, channels], kernels.element)?;
        let count = channels / WIDE * out * ((out + COLUMNS - 1) / COLUMNS);
        let arguments = StemArguments {
            x: kernels.place(x, Kind::Float, &[batch, side, side, 3])?,
            y: kernels.place(&y, kernels.element, &[batch, out, out, channels])?,
            weight: kernels.place(&by.weight, Kind::Float, &[3, 3, 3, channels])?,
            bias: kernels.place(&by.bias, Kind::Float, &[channels])?,
            side: int(side)?,
            step: int(step)?,
            out: int(out)?,
            pad: int(by.pad)?,
            channels: int(channels)?,
            activation: self.activation as i32,
            count: int(count)?,
        };
        // SAFETY: all are as large as the kernel takes them to be.
        unsafe { kernels.launch(c"stem", [blocks(count), 1, batch], &arguments)? };
        Ok(y)
    }

    /// With the sums of the outputs if an excitation follows.
    ///
    /// # Shapes
    /// `[B, S, S, C]` to `[B, S', S', C]`, S' = S / stride, rounded up; sums `[B, parts, C]`, f32.
    #[expect(unsafe_code, reason = "a kernel gets pointers")]
    pub fn depthwise(
        &self,
        x: &Tensor,
        by: &Depthwise,
        with_sums: bool,
    ) -> Result<(Tensor, Option<Tensor>), TchError> {
        let kernels = &self.kernels;
        let [batch, side] = picture(x)?;
        let (channels, k) = (by.after.size()[0], by.weight.size()[0]);
        even(channels)?;
        let half = i64::from(kernels.element != Kind::Float);
        let (name, tile) = match (k, by.stride) {
            (3, 1) => (c"depthwise_3_1", 64 << half),
            (3, 2) => (c"depthwise_3_2", 32),
            (5, 1) => (c"depthwise_5_1", 64 << half),
            (5, 2) => (c"depthwise_5_2", 32),
            (k, stride) => {
                return Err(TchError::Shape(format!("no kernel of side {k} has stride {stride}")));
            }
        };
        let out = (side + by.stride - 1) / by.stride;
        let groups = (channels / 2 + LANES - 1) / LANES;
        // A block goes from tile to tile, if there are many.
        let parts = ((out * out + tile - 1) / tile).min((BUSY / groups / batch).clamp(PARTS.0, PARTS.1));
        let y = kernels.empty(&[batch, out, out, channels], kernels.element)?;
        let sums = with_sums.then(|| kernels.empty(&[batch, parts, channels], Kind::Float)).transpose()?;
        let arguments = DepthwiseArguments {
            x: kernels.place(x, kernels.element, &[batch, side, side, channels])?,
            y: kernels.place(&y, kernels.element, &[batch, out, out, channels])?,
            sums: match &sums {
                Some(sums) => kernels.place(sums, Kind::Float, &[batch, parts, channels])?,
                None => std::ptr::null_mut(),
            },
            before: kernels.place(&by.before, Kind::Float, &[channels])?,
            weight: kernels.place(&by.weight, Kind::Float, &[k, k, channels])?,
            after: kernels.place(&by.after, Kind::Float, &[channels])?,
            side: int(side)?,
            out: int(out)?,
            pad: int(by.pad)?,
            channels: int(channels)?,
            is_activated: by.is_activated.into(),
            activation: self.activation as i32,
        };
        // SAFETY: all are as large as the kernel takes them to be.
        unsafe { kernels.launch(name, [parts, groups, batch], &arguments)? };
        Ok((y, sums))
    }

    /// The weights of the pointwise convolution that follows, for each picture, with what each channel counts in them. `cells` are
    /// those that were summed up.
    ///
    /// # Shapes
    /// Sums `[B, parts, C]`, f32, and weights `[O, C]` to `[B, O, C]`.
    #[expect(unsafe_code, reason = "kernels get pointers")]
    pub fn excited(
        &self,
        sums: &Tensor,
        cells: i64,
        by: &Excitation,
        project: &Tensor,
    ) -> Result<Tensor, TchError> {
        let kernels = &self.kernels;
        let [batch, parts, _] = sums.size()[..] else {
            return Err(TchError::Shape(format!("sums of {:?}", sums.size())));
        };
        let (squeezed, channels) = (by.squeeze_bias.size()[0], by.excite_bias.size()[0]);
        let outputs = project.size()[0];
        even(channels)?;
        let mean = self.mean(sums, [batch, parts, channels], cells)?;
        let between = kernels.empty(&[batch, squeezed], Kind::Float)?;
        let arguments = SqueezeArguments {
            x: kernels.place(&mean, Kind::Float, &[batch, channels])?,
            weight: kernels.place(&by.squeeze, kernels.element, &[squeezed, channels])?,
            bias: kernels.place(&by.squeeze_bias, Kind::Float, &[squeezed])?,
            y: kernels.place(&between, Kind::Float, &[batch, squeezed])?,
            channels: int(channels)?,
            outputs: int(squeezed)?,
        };
        // SAFETY: all are as large as the kernel takes them to be.
        unsafe { kernels.launch(c"squeeze", [(squeezed + WARPS - 1) / WARPS, 1, batch], &arguments)? };
        let y = kernels.empty(&[batch, outputs, channels], kernels.element)?;
        let groups = (channels / 2 + LANES - 1) / LANES;
        let shares = (BUSY / 2 / groups / batch).clamp(1, (outputs + WARPS - 1) / WARPS);
        let arguments = ExciteArguments {
            x: kernels.place(&between, Kind::Float, &[batch, squeezed])?,
            weight: kernels.place(&by.excite, kernels.element, &[squeezed, channels])?,
            bias: kernels.place(&by.excite_bias, Kind::Float, &[channels])?,
            project: kernels.place(project, kernels.element, &[outputs, channels])?,
            y: kernels.place(&y, kernels.element, &[batch, outputs, channels])?,
            squeezed: int(squeezed)?,
            channels: int(channels)?,
            outputs: int(outputs)?,
            shares: int(shares)?,
        };
        // SAFETY: all are as large as the kernel takes them to be.
        unsafe { kernels.launch(c"excite", [groups, shares, batch], &arguments)? };
        Ok(y)
    }

    /// `[B, C]`, f32.
    #[expect(unsafe_code, reason = "a kernel gets pointers")]
    fn mean(
        &self,
        sums: &Tensor,
        [batch, parts, channels]: [i64; 3],
        cells: i64,
    ) -> Result<Tensor, TchError> {
        let kernels = &self.kernels;
        let y = kernels.empty(&[batch, channels], Kind::Float)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a share")]
        let share = (1.0 / cells as f64) as f32;
        let arguments = AverageArguments {
            sums: kernels.place(sums, Kind::Float, &[batch, parts, channels])?,
            y: kernels.place(&y, Kind::Float, &[batch, channels])?,
            parts: int(parts)?,
            channels: int(channels)?,
            share,
        };
        // SAFETY: all are as large as the kernel takes them to be.
        unsafe { kernels.launch(c"average", [(channels + LANES - 1) / LANES, 1, batch], &arguments)? };
        Ok(y)
    }
}

/// Batch and side of `[B, S, S, C]`.
fn picture(x: &Tensor) -> Result<[i64; 2], TchError> {
    match x.size()[..] {
        [batch, height, width, _] if height == width => Ok([batch, height]),
        _ => Err(TchError::Shape(format!("{:?} is no square map", x.size()))),
    }
}

fn even(channels: i64) -> Result<(), TchError> {
    if channels % 2 == 0 {
        Ok(())
    } else {
        Err(TchError::Shape(format!("{channels} channels, an odd number")))
    }
}
