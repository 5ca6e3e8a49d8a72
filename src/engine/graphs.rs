//! The way from pixels to what is said of them on a CUDA device, recorded for each number of pictures: a thousand calls at the cost
//! of one. Where an ROI says what counts, which may change, latent values are taken from there and the rest is a few calls more.

use tch::{Device, Kind, TchError, Tensor};

use crate::cuda::graph::Graph;
use crate::cuda::stream::Stream;
use crate::model::Scales;
use crate::model::score::Reading;

/// Runs before what is recorded: libtorch chooses kernels and takes memory in the first.
const WARM_UP: usize = 3;

/// At least one.
#[derive(Debug)]
pub(super) struct Graphs {
    /// For one picture, for two together, and so on.
    by_count: Vec<Recorded>,
}

#[derive(Debug)]
struct Recorded {
    /// What it reads, `[B, 3, S, S]`, u8.
    pixels: Tensor,
    written: Written,
    graph: Graph,
}

/// What a recording writes.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) latent: Scales,
    /// Of the whole picture.
    pub(super) reading: Reading,
}

impl Graphs {
    /// Of `work`, for up to `most` pictures of `side`, in `stream`, which the thread has entered. All share their memory.
    pub(super) fn record(
        stream: &Stream,
        most: usize,
        side: i64,
        device: Device,
        work: impl Fn(&Tensor) -> Result<Written, TchError>,
    ) -> Result<Self, TchError> {
        let mut by_count: Vec<Recorded> = Vec::with_capacity(most);
        // The largest takes the memory that the others use.
        for count in (1..=most).rev() {
            let count = i64::try_from(count).expect("a few");
            let pixels = Tensor::f_zeros([count, side, side, 3], (Kind::Uint8, device))?;
            let pixels = pixels.f_permute([0, 3, 1, 2])?;
            for _ in 0..WARM_UP {
                work(&pixels)?;
            }
            // What those took is no use to a recording, which has memory of its own.
            stream.gpu().empty_cache()?;
            let largest = by_count.first().map(|recorded| &recorded.graph);
            let (graph, written) = Graph::record(stream, largest, || work(&pixels))?;
            by_count.push(Recorded { pixels, written, graph });
        }
        by_count.reverse();
        Ok(Self { by_count })
    }

    /// How many pictures may go together.
    pub(super) fn most(&self) -> usize {
        self.by_count.len()
    }

    /// None for more pictures than were recorded. It stays until the next call.
    ///
    /// # Shapes
    /// `[B, 3, S, S]`, u8, on the device.
    pub(super) fn written(&self, pixels: &Tensor) -> Result<Option<&Written>, TchError> {
        let count = usize::try_from(pixels.size()[0]).unwrap_or(0);
        let Some(recorded) = count.checked_sub(1).and_then(|index| self.by_count.get(index)) else {
            return Ok(None);
        };
        // Its own tensor is written to through another name of it.
        recorded.pixels.shallow_clone().f_copy_(pixels)?;
        recorded.graph.replay()?;
        Ok(Some(&recorded.written))
    }
}
