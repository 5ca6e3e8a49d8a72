//! Means of a map's channels, and channels that are multiplied, each in one pass. libtorch takes four times as long for the means of
//! bf16, which with its products was a tenth of EfficientNet-B5's time.

use std::ffi::c_void;

use tch::{Kind, TchError, Tensor};

use crate::cpu::fits;

#[expect(unsafe_code, reason = "calls into C++")]
unsafe extern "C" {
    fn csflowd_channel_means(
        x: *const c_void,
        is_bf16: bool,
        rows: i64,
        columns: i64,
        channels: i64,
        y: *mut c_void,
    );
    fn csflowd_scale_channels(
        x: *mut c_void,
        is_bf16: bool,
        pixels: i64,
        channels: i64,
        factors: *const c_void,
    );
}

/// Writes the means of the channels of `x` to `y`.
///
/// # Shapes
/// `[1, C, H, W]` to `[1, C, 1, 1]`, both f32 or both bf16, channels last and dense.
#[expect(unsafe_code, reason = "a call into C++")]
pub fn means(x: &Tensor, y: &Tensor) -> Result<(), TchError> {
    let ([channels, rows, columns], is_bf16) = map(x)?;
    fits(y, [1, channels, 1, 1], is_bf16)?;
    // SAFETY: both tensors live through the call and have the size, kind and layout that the function expects.
    unsafe { csflowd_channel_means(x.data_ptr(), is_bf16, rows, columns, channels, y.data_ptr()) }
    Ok(())
}

/// Multiplies the channels of `x`, which changes for whoever shares it.
///
/// # Shapes
/// `[1, C, H, W]` by `[1, C, 1, 1]`, both f32 or both bf16, channels last and dense.
#[expect(unsafe_code, reason = "a call into C++")]
pub fn scale(x: &Tensor, factors: &Tensor) -> Result<(), TchError> {
    let ([channels, rows, columns], is_bf16) = map(x)?;
    fits(factors, [1, channels, 1, 1], is_bf16)?;
    // SAFETY: both tensors live through the call and have the size, kind and layout that the function expects.
    unsafe { csflowd_scale_channels(x.data_ptr(), is_bf16, rows * columns, channels, factors.data_ptr()) }
    Ok(())
}

/// Channels, rows and columns of a map, and whether it is bf16.
fn map(x: &Tensor) -> Result<([i64; 3], bool), TchError> {
    let [1, channels, rows, columns] = x.size()[..] else {
        return Err(TchError::Shape(format!("{:?} is no map of one picture", x.size())));
    };
    let is_bf16 = x.f_kind()? == Kind::BFloat16;
    fits(x, [1, channels, rows, columns], is_bf16)?;
    Ok(([channels, rows, columns], is_bf16))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::map as maps;

    fn drawn(size: [i64; 4], kind: Kind) -> Tensor {
        let count: i64 = size.iter().product();
        let values = (Tensor::arange(count, (Kind::Double, tch::Device::Cpu)) * 12.9898).sin() * 43_758.545;
        maps::channels_last(&(&values - values.floor() - 0.2).view(size).to_kind(kind)).unwrap()
    }

    #[test]
    fn they_are_those_of_libtorch() {
        for (kind, tolerance) in [(Kind::Float, 1e-6), (Kind::BFloat16, 4e-3)] {
            for size in [[1, 5, 3, 7], [1, 48, 96, 40], [1, 1, 1, 1], [1, 130, 33, 33]] {
                let x = drawn(size, kind);
                let [_, channels, _, _] = size;
                let factors = maps::zeros([1, channels, 1, 1], kind).unwrap();
                means(&x, &factors).unwrap();
                let exact = x.to_kind(Kind::Double);
                let expected = exact.mean_dim([2, 3].as_slice(), true, None::<Kind>);
                let apart = (factors.to_kind(Kind::Double) - &expected).abs().max().double_value(&[]);
                assert!(apart <= tolerance, "{kind:?} {size:?}: {apart} apart");
                let expected = &exact * factors.to_kind(Kind::Double);
                scale(&x, &factors).unwrap();
                let apart = (x.to_kind(Kind::Double) - expected).abs().max().double_value(&[]);
                assert!(apart <= tolerance, "{kind:?} {size:?}: {apart} apart");
            }
        }
    }

    #[test]
    fn what_is_no_number_stays_none() {
        for kind in [Kind::Float, Kind::BFloat16] {
            let x = drawn([1, 3, 2, 2], kind);
            drop(x.narrow(1, 1, 1).fill_(f64::NAN));
            let y = maps::zeros([1, 3, 1, 1], kind).unwrap();
            means(&x, &y).unwrap();
            assert_eq!(Vec::<bool>::try_from(y.isnan().flatten(0, 3)).unwrap(), [false, true, false]);
            scale(&x, &(y.zeros_like() + 2.0)).unwrap();
            assert_eq!(x.isnan().sum(Kind::Int64).int64_value(&[]), 4);
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let x = drawn([1, 3, 2, 2], Kind::Float);
        let of = |size, kind| maps::zeros(size, kind).unwrap();
        assert!(means(&x, &of([1, 3, 1, 1], Kind::Float)).is_ok());
        assert!(means(&x, &of([1, 2, 1, 1], Kind::Float)).is_err());
        assert!(means(&x, &of([1, 3, 1, 1], Kind::BFloat16)).is_err());
        assert!(scale(&of([2, 3, 2, 2], Kind::Float), &of([1, 3, 1, 1], Kind::Float)).is_err());
        assert!(scale(&x.contiguous(), &of([1, 3, 1, 1], Kind::Float)).is_err());
        assert!(scale(&x.to_kind(Kind::Double), &of([1, 3, 1, 1], Kind::Float)).is_err());
    }
}
