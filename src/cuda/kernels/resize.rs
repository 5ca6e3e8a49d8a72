//! Pictures to another size.

use tch::{Kind, TchError, Tensor};

use super::{Kernels, Text, blocks, int};
use crate::cuda::Target;

#[derive(Debug)]
pub struct ResizeKernels(Kernels);

/// What the outputs along one dimension are made of, on the device.
#[derive(Debug)]
pub struct Taps {
    /// Of the input.
    from: i64,
    /// The first pixel of each, `[to]`, i32.
    first: Tensor,
    /// What that and those behind it weigh, `[to, most]`, i32; none lies behind the last pixel but with weight 0.
    weights: Tensor,
    /// Bits of the weights behind the point.
    precision: u32,
}

/// Which channels a resize writes: the first comes from `origin`, the others in steps of `stride`.
#[derive(Clone, Copy, Debug)]
pub struct Channels {
    pub input: i64,
    pub output: i64,
    pub origin: i64,
    pub stride: i64,
}

/// As in the text.
#[repr(C)]
struct Along {
    x: *const u8,
    y: *mut u8,
    first: *const i32,
    weights: *const i32,
    most: i32,
    precision: i32,
    from: i32,
    to: i32,
    across: i32,
    channels: i32,
    channels_out: i32,
    origin: i32,
    stride: i32,
    count: i32,
}

impl ResizeKernels {
    pub fn new(target: &Target) -> Result<Self, TchError> {
        Kernels::new(Text::Resize, Kind::Float, &[], target).map(Self)
    }

    /// For outputs of so many pixels each, of which the first and the weights are given, from `from` pixels.
    pub fn taps(&self, from: i64, outputs: &[(usize, Vec<i32>)], precision: u32) -> Result<Taps, TchError> {
        let most = outputs.iter().map(|(_, weights)| weights.len()).max().unwrap_or(0);
        let first: Vec<i32> = outputs.iter().map(|(first, _)| i32::try_from(*first).unwrap_or(-1)).collect();
        let of_from = |n: i32| (0..from).contains(&i64::from(n));
        let none_is_behind = outputs
            .iter()
            .all(|(first, weights)| i64::try_from(first + weights.len()).is_ok_and(|end| end <= from));
        if !first.iter().copied().all(of_from) || !none_is_behind || !(1..31).contains(&precision) {
            return Err(TchError::Shape(format!("{} outputs of {from} pixels", outputs.len())));
        }
        let weights: Vec<i32> = outputs
            .iter()
            .flat_map(|(_, weights)| weights.iter().copied().chain(std::iter::repeat(0)).take(most))
            .collect();
        let shape = [outputs.len(), most].map(|n| i64::try_from(n).expect("a side of a picture"));
        let sent = |tensor: Tensor| tensor.f_to_device(self.0.device);
        Ok(Taps {
            from,
            first: sent(Tensor::f_from_slice(&first)?)?,
            weights: sent(Tensor::f_from_slice(&weights)?.f_view(shape)?)?,
            precision,
        })
    }

    /// An empty picture for [`along`](Self::along) to write.
    pub fn empty(&self, size: &[i64]) -> Result<Tensor, TchError> {
        self.0.empty(size, Kind::Uint8)
    }

    /// # Shapes
    /// `[outer, from, across, input]` to `[outer, to, across, output]`, u8.
    #[expect(unsafe_code, reason = "a kernel gets pointers")]
    pub fn along(&self, taps: &Taps, channels: Channels, (x, y): (&Tensor, &Tensor)) -> Result<(), TchError> {
        let Channels { input, output, origin, stride } = channels;
        let [outer, _, across, _] = x.size()[..] else {
            return Err(TchError::Shape(format!("{:?} is no picture", x.size())));
        };
        let [to, most] = [taps.weights.size()[0], taps.weights.size()[1]];
        let last = origin + (output - 1) * stride;
        if ![origin, last].iter().all(|channel| (0..input).contains(channel)) {
            return Err(TchError::Shape(format!("{channels:?}")));
        }
        let kernels = &self.0;
        let count = outer * to * across * output;
        let arguments = Along {
            x: kernels.place(x, Kind::Uint8, &[outer, taps.from, across, input])?,
            y: kernels.place(y, Kind::Uint8, &[outer, to, across, output])?,
            first: kernels.place(&taps.first, Kind::Int, &[to])?,
            weights: kernels.place(&taps.weights, Kind::Int, &[to, most])?,
            most: int(most)?,
            precision: int(i64::from(taps.precision))?,
            from: int(taps.from)?,
            to: int(to)?,
            across: int(across)?,
            channels: int(input)?,
            channels_out: int(output)?,
            origin: int(origin)?,
            stride: int(stride)?,
            count: int(count)?,
        };
        // SAFETY: all are as large as the kernel takes them to be.
        unsafe { kernels.launch(c"along", [blocks(count), 1, 1], &arguments) }
    }
}
