//! A convolution of a map that is enlarged twofold, without enlarging it.
//!
//! A convolution multiplies channels and then adds up neighbours; enlarging mixes neighbours and leaves channels alone, so the order
//! of the two is free. What each tap of the kernel says, a convolution of single pixels, is computed on the small map,
//! which has a quarter of the pixels, and enlarged where the taps are added up.

use tch::{Kind, TchError, Tensor};

use crate::cpu::fits;

/// Of the map before it is enlarged, and of the convolution, whose kernel is odd and centred. The order of the fields is that
/// of `CsflowdEnlarged` in `enlarged.cpp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Enlarged {
    pub height: i64,
    pub width: i64,
    /// Of the output.
    pub channels: i64,
    pub kernel: i64,
}

#[expect(unsafe_code, reason = "a call into C++")]
unsafe extern "C" {
    fn csflowd_add_enlarged(shape: *const Enlarged, taps: *const f32, y: *mut f32);
}

impl Enlarged {
    /// The weights of a convolution of single pixels that gives what each tap says.
    ///
    /// # Shapes
    /// `[O, I, k, k]` to `[k k O, I, 1, 1]`.
    pub fn taps(weight: &Tensor) -> Result<Tensor, TchError> {
        let (input, kernel) = (weight.size()[1], weight.size()[3]);
        let taps = weight.f_permute([2, 3, 0, 1])?;
        taps.f_reshape([kernel * kernel * weight.size()[0], input, 1, 1])
    }

    /// Adds what the taps say of the map, enlarged bilinearly and with zeros beyond its border, to `y`, whose values change for
    /// whoever shares them.
    ///
    /// # Shapes
    /// `taps` is `[1, k k C, H, W]`, `y` `[1, C, 2 H, 2 W]`, both f32, channels last and dense.
    #[expect(unsafe_code, reason = "a call into C++")]
    pub fn add(self, taps: &Tensor, y: &Tensor) -> Result<(), TchError> {
        let Self { height, width, channels, kernel } = self;
        if kernel % 2 == 0 {
            return Err(TchError::Shape(format!("a kernel of {kernel} has no centre")));
        }
        fits(taps, [1, kernel * kernel * channels, height, width], false)?;
        fits(y, [1, channels, 2 * height, 2 * width], false)?;
        debug_assert_eq!(taps.kind(), Kind::Float);
        // SAFETY: both tensors live through the call and have the size, kind and layout that the function expects. Tensors may change
        // under whoever shares them, as everywhere in libtorch.
        unsafe { csflowd_add_enlarged(&raw const self, taps.data_ptr().cast(), y.data_ptr().cast()) }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::map;

    fn drawn(size: &[i64], seed: i64) -> Tensor {
        tch::manual_seed(seed);
        Tensor::randn(size, (Kind::Float, tch::Device::Cpu))
    }

    #[test]
    fn it_is_the_convolution_of_the_enlarged_map() {
        for (height, width, kernel) in
            [(1, 1, 1), (1, 2, 3), (4, 3, 3), (2, 2, 5), (5, 4, 5), (3, 3, 7), (12, 12, 5)]
        {
            let (input, channels) = (6, 5);
            let (x, weight) =
                (drawn(&[1, input, height, width], 1), drawn(&[channels, input, kernel, kernel], 2));
            let y = drawn(&[1, channels, 2 * height, 2 * width], 3);
            let enlarged = x.upsample_bilinear2d([2 * height, 2 * width], false, None, None);
            let pad = kernel / 2;
            let expected = &y + enlarged.conv2d(&weight, None::<&Tensor>, [1, 1], [pad, pad], [1, 1], 1);

            let each = Enlarged::taps(&weight).unwrap();
            let taps =
                map::channels_last(&x.conv2d(&each, None::<&Tensor>, [1, 1], [0, 0], [1, 1], 1)).unwrap();
            let found = map::channels_last(&y).unwrap();
            Enlarged { height, width, channels, kernel }.add(&taps, &found).unwrap();
            let apart = (found - expected).abs().max().double_value(&[]);
            assert!(apart < 1e-4, "{height}x{width}, kernel {kernel}: {apart} apart");
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let shape = Enlarged { height: 2, width: 2, channels: 3, kernel: 3 };
        let map = |size| map::zeros(size, Kind::Float).unwrap();
        assert!(shape.add(&map([1, 27, 2, 2]), &map([1, 3, 4, 4])).is_ok());
        assert!(shape.add(&map([1, 27, 2, 2]), &map([1, 3, 4, 5])).is_err());
        assert!(shape.add(&map([1, 9, 2, 2]), &map([1, 3, 4, 4])).is_err());
        assert!(Enlarged { kernel: 2, ..shape }.add(&map([1, 12, 2, 2]), &map([1, 3, 4, 4])).is_err());
    }
}
