//! What the flow computes beside its convolutions.
//!
//! Maps are `[B, H, W, C]`: hidden layers and what convolutions say in the kind that the kernels are for, latent values in f32.

use tch::{Kind, TchError, Tensor};

use super::{Kernels, Text, blocks, int};
use crate::cuda::Target;

#[derive(Debug)]
pub struct FlowKernels(Kernels);

/// What a subnet says about one half of the channels: the sum of these, `[B, H, W, 2 C]`.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// Of the same scale.
    pub same: &'a Tensor,
    pub coarser: Option<&'a Tensor>,
    pub finer: Option<&'a Tensor>,
    /// `[2 C]`, f32.
    pub bias: &'a Tensor,
}

/// The two halves of a map's channels, `[B, H, W, C / 2]`, f32.
#[derive(Debug)]
pub struct Pair {
    pub first: Tensor,
    pub second: Tensor,
}

#[repr(C)]
struct HearArguments {
    x: *const u8,
    bias: *const f32,
    y: *mut u8,
    enlarged: *mut u8,
    height: i32,
    width: i32,
    channels: i32,
    slope: f32,
    count: i32,
}

#[repr(C)]
struct CoupleArguments {
    same: *const u8,
    coarser: *const u8,
    finer: *const u8,
    bias: *const f32,
    half: *mut f32,
    heard: *mut u8,
    channels: i32,
    exponent: f32,
    count: i32,
}

#[repr(C)]
struct GatherArguments {
    first: *const f32,
    second: *const f32,
    order: *const i32,
    y_first: *mut f32,
    y_second: *mut f32,
    heard: *mut u8,
    of_first: i32,
    split: i32,
    channels: i32,
    limit: f32,
    count: i32,
}

impl FlowKernels {
    /// For hidden layers of f32, f16 or bf16.
    pub fn new(element: Kind, target: &Target) -> Result<Self, TchError> {
        Kernels::new(Text::Flow, element, &[], target).map(Self)
    }

    /// A hidden layer from what its convolution says: the bias and a leaky `ReLU`; and on demand the same twice as large, bilinearly.
    ///
    /// # Shapes
    /// `[B, H, W, C]` and `[C]`, f32, to `[B, H, W, C]` and `[B, 2 H, 2 W, C]`.
    #[expect(unsafe_code, reason = "a kernel gets pointers")]
    pub fn hear(
        &self,
        x: &Tensor,
        bias: &Tensor,
        slope: f32,
        is_enlarged: bool,
    ) -> Result<(Tensor, Option<Tensor>), TchError> {
        let kernels = &self.0;
        let size = map(x)?;
        let [batch, height, width, channels] = size;
        let y = kernels.empty(&size, kernels.element)?;
        let larger = [batch, 2 * height, 2 * width, channels];
        let enlarged = is_enlarged.then(|| kernels.empty(&larger, kernels.element)).transpose()?;
        let (name, at_once) = if channels % 4 == 0 { (c"hear_4", 4) } else { (c"hear_1", 1) };
        let count = height * width * channels / at_once * if is_enlarged { 4 } else { 1 };
        let arguments = HearArguments {
            x: kernels.place(x, kernels.element, &size)?,
            bias: kernels.place(bias, Kind::Float, &[channels])?,
            y: kernels.place(&y, kernels.element, &size)?,
            enlarged: match &enlarged {
                Some(enlarged) => kernels.place(enlarged, kernels.element, &larger)?,
                None => std::ptr::null_mut(),
            },
            height: int(height)?,
            width: int(width)?,
            channels: int(channels)?,
            slope,
            count: int(count)?,
        };
        // SAFETY: all are as large as the kernel takes them to be.
        unsafe { kernels.launch(name, [blocks(count), 1, batch], &arguments)? };
        Ok((y, enlarged))
    }

    /// Couples `half`, in place: see the text. On demand it comes back for the next convolution.
    ///
    /// # Shapes
    /// `[B, H, W, C]`, f32.
    #[expect(unsafe_code, reason = "a kernel gets pointers")]
    pub fn couple(
        &self,
        said: Said<'_>,
        half: &Tensor,
        exponent: f32,
        is_heard: bool,
    ) -> Result<Option<Tensor>, TchError> {
        let kernels = &self.0;
        let size = map(half)?;
        let [batch, height, width, channels] = size;
        let said_size = [batch, height, width, 2 * channels];
        let heard = is_heard.then(|| kernels.empty(&size, kernels.element)).transpose()?;
        let optional = |tensor: Option<&Tensor>| match tensor {
            Some(tensor) => kernels.place(tensor, kernels.element, &said_size),
            None => Ok(std::ptr::null_mut()),
        };
        let count = batch * height * width * channels;
        let arguments = CoupleArguments {
            same: kernels.place(said.same, kernels.element, &said_size)?,
            coarser: optional(said.coarser)?,
            finer: optional(said.finer)?,
            bias: kernels.place(said.bias, Kind::Float, &[2 * channels])?,
            half: kernels.place(half, Kind::Float, &size)?,
            heard: match &heard {
                Some(heard) => kernels.place(heard, kernels.element, &size)?,
                None => std::ptr::null_mut(),
            },
            channels: int(channels)?,
            exponent,
            count: int(count)?,
        };
        // SAFETY: all are as large as the kernel takes them to be.
        unsafe { kernels.launch(c"couple", [blocks(count), 1, 1], &arguments)? };
        Ok(heard)
    }

    /// The channels of a map, of which `second` are those behind the first, in the order of `order`, cut at the limit: `split` of
    /// them as the first half. On demand the second comes for a convolution, too.
    ///
    /// # Shapes
    /// `[B, H, W, n]`, `[B, H, W, C - n]`, f32, and `[C]`, i32.
    #[expect(unsafe_code, reason = "a kernel gets pointers")]
    pub fn gather(
        &self,
        (first, second): (&Tensor, Option<&Tensor>),
        order: &Order,
        limit: f32,
        is_heard: bool,
    ) -> Result<(Pair, Option<Tensor>), TchError> {
        let kernels = &self.0;
        let [batch, height, width, of_first] = map(first)?;
        let channels = order.places.size()[0];
        let split = order.split;
        let of = |channels: i64| [batch, height, width, channels];
        let pair = Pair {
            first: kernels.empty(&of(split), Kind::Float)?,
            second: kernels.empty(&of(channels - split), Kind::Float)?,
        };
        let heard = is_heard.then(|| kernels.empty(&of(channels - split), kernels.element)).transpose()?;
        if second.is_none() && of_first != channels {
            return Err(TchError::Shape(format!("{of_first} channels are not all {channels}")));
        }
        let count = batch * height * width * channels;
        let arguments = GatherArguments {
            first: kernels.place(first, Kind::Float, &of(of_first))?,
            second: match second {
                Some(second) => kernels.place(second, Kind::Float, &of(channels - of_first))?,
                None => std::ptr::null(),
            },
            order: kernels.place(&order.places, Kind::Int, &[channels])?,
            y_first: kernels.place(&pair.first, Kind::Float, &of(split))?,
            y_second: kernels.place(&pair.second, Kind::Float, &of(channels - split))?,
            heard: match &heard {
                Some(heard) => kernels.place(heard, kernels.element, &of(channels - split))?,
                None => std::ptr::null_mut(),
            },
            of_first: int(of_first)?,
            split: int(split)?,
            channels: int(channels)?,
            limit,
            count: int(count)?,
        };
        // SAFETY: all are as large as the kernel takes them to be, and `Order` names no channel that is not there.
        unsafe { kernels.launch(c"gather", [blocks(count), 1, 1], &arguments)? };
        Ok((pair, heard))
    }

    /// Where each channel comes from, and how many become the first half.
    pub fn order(&self, places: &[i64], split: i64) -> Result<Order, TchError> {
        let channels = i64::try_from(places.len()).unwrap_or(i64::MAX);
        let is_fine = places.iter().chain([&0]).all(|place| (0..channels).contains(place));
        if !is_fine || !(0..=channels).contains(&split) {
            return Err(TchError::Shape(format!("an order of {channels} channels, {split} of them first")));
        }
        let places = Tensor::f_from_slice(places)?.f_to_kind(Kind::Int)?.f_to_device(self.0.device)?;
        Ok(Order { places, split })
    }
}

/// An order of channels, on the device.
#[derive(Debug)]
pub struct Order {
    /// `[C]`, i32.
    places: Tensor,
    split: i64,
}

fn map(x: &Tensor) -> Result<[i64; 4], TchError> {
    x.size().try_into().map_err(|size| TchError::Shape(format!("{size:?} is no map")))
}
