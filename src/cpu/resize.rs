//! The resize of a picture of bytes by sums of 16-bit weights, by all threads.
//!
//! Its result is libtorch's, integer for integer, where the weights are; but that works on four channels whatever there are, and
//! with one thread.

use std::ptr;

use tch::TchError;

/// Smaller pictures are left to libtorch.
pub const LEAST_HEIGHT: usize = 16;

/// What each output along one dimension is made of.
#[derive(Clone, Debug)]
pub struct Taps {
    first: Vec<i32>,
    count: Vec<i32>,
    /// `most` for each output; those behind its own are 0.
    weights: Vec<i32>,
    most: usize,
    pixels: usize,
    precision: u32,
}

/// For pictures of one size.
#[derive(Debug)]
pub struct Resize {
    rows: Taps,
    columns: Taps,
    channels: usize,
    /// `[height, outputs, channels]`.
    between: Vec<u8>,
}

/// The order of the fields is that of `CsflowdTaps` in `resize.cpp`.
#[repr(C)]
struct Places {
    first: *const i32,
    count: *const i32,
    weights: *const i32,
    outputs: i64,
    most: i64,
    precision: i32,
}

#[expect(unsafe_code, reason = "a call into C++")]
unsafe extern "C" {
    fn csflowd_resize(
        rows: *const Places,
        columns: *const Places,
        height: i64,
        width: i64,
        channels: i64,
        pixels: *const u8,
        between: *mut u8,
        out: *mut u8,
    );
}

impl Taps {
    /// Of `pixels` pixels. For each output the first that it is made of, and the weights of that and of those behind it,
    /// multiplied by 2^`precision`.
    pub fn new(pixels: usize, outputs: &[(usize, Vec<i32>)], precision: u32) -> Result<Self, TchError> {
        let is_inside = |(first, weights): &(usize, Vec<i32>)| first + weights.len() <= pixels;
        let has_16_bits = |(_, weights): &(usize, Vec<i32>)| weights.iter().all(|w| (0..1 << 15).contains(w));
        if !outputs.iter().all(|one| is_inside(one) && has_16_bits(one)) || !(1..=22).contains(&precision) {
            return Err(TchError::Shape(format!(
                "taps beyond {pixels} pixels or 16 bits, or {precision} behind the point"
            )));
        }
        let most = outputs.iter().map(|(_, weights)| weights.len()).max().unwrap_or(0);
        let mut all = vec![0; most * outputs.len()];
        for ((_, weights), place) in outputs.iter().zip(all.chunks_exact_mut(most.max(1))) {
            place[..weights.len()].copy_from_slice(weights);
        }
        let small = |n: usize| i32::try_from(n).map_err(|_| TchError::Shape(format!("{n} pixels")));
        Ok(Self {
            first: outputs.iter().map(|(first, _)| small(*first)).collect::<Result<_, _>>()?,
            count: outputs.iter().map(|(_, weights)| small(weights.len())).collect::<Result<_, _>>()?,
            weights: all,
            most,
            pixels,
            precision,
        })
    }

    fn outputs(&self) -> usize {
        self.first.len()
    }

    fn places(&self) -> Places {
        Places {
            first: self.first.as_ptr(),
            count: self.count.as_ptr(),
            weights: self.weights.as_ptr(),
            outputs: large(self.outputs()),
            most: large(self.most),
            precision: i32::try_from(self.precision).expect("22 at most"),
        }
    }
}

impl Resize {
    /// Both dimensions to the same number of pixels; at least [`LEAST_HEIGHT`] rows.
    pub fn new(rows: Taps, columns: Taps, channels: usize) -> Result<Self, TchError> {
        if columns.pixels < LEAST_HEIGHT || rows.outputs() != columns.outputs() {
            let (height, outputs) = (columns.pixels, [columns.outputs(), rows.outputs()]);
            return Err(TchError::Shape(format!("{height} rows of {channels} channels to {outputs:?}")));
        }
        let between = vec![0; columns.pixels * rows.outputs() * channels];
        Ok(Self { rows, columns, channels, between })
    }

    /// # Shapes
    /// `pixels` is `[height, width, channels]`, `out` `[outputs, outputs, channels]`.
    #[expect(unsafe_code, reason = "a call into C++")]
    pub fn run(&mut self, pixels: &[u8], out: &mut [u8]) -> Result<(), TchError> {
        let (height, width) = (self.columns.pixels, self.rows.pixels);
        let outputs = self.rows.outputs();
        if pixels.len() != height * width * self.channels || out.len() != outputs * outputs * self.channels {
            return Err(TchError::Shape(format!("{} bytes to {}", pixels.len(), out.len())));
        }
        let (rows, columns) = (self.rows.places(), self.columns.places());
        // SAFETY: all slices have the sizes that the function expects, and live through the call; taps lie within the picture, which has
        // rows enough.
        unsafe {
            csflowd_resize(
                ptr::from_ref(&rows),
                ptr::from_ref(&columns),
                large(height),
                large(width),
                large(self.channels),
                pixels.as_ptr(),
                self.between.as_mut_ptr(),
                out.as_mut_ptr(),
            );
        }
        Ok(())
    }
}

fn large(n: usize) -> i64 {
    i64::try_from(n).expect("a size in memory")
}
