//! One frame of a camera, and what its pipeline agreed on.

use std::path::Path;
use std::time::Duration;

use crate::appearance::Appearance;
use crate::capture::{self, Negotiated, Pulled};
use crate::clock::Clock;
use crate::commission::CommissionError;
use crate::commission::shutter::Shutter;
use crate::commission::store::{StoreError, format_name, write_new};
use crate::config::camera::Camera;
use crate::frame::{BufferPool, Captured};
use crate::image_file::writing;

/// A stop request is not heard in between: waiting ends by itself.
const PULL: Duration = Duration::from_millis(100);

/// What came of one look through a camera.
#[derive(Debug)]
pub struct Look {
    /// The frame after those that were passed over.
    pub captured: Captured,
    pub negotiated: Vec<Negotiated>,
    /// From opening the camera to its first frame.
    pub first_after: Duration,
}

/// Opens the camera, passes over `skip` frames and takes the next. `wait` is for each frame.
pub fn look(
    camera: &Camera,
    (skip, wait): (u64, Duration),
    clock: &dyn Clock,
    pool: &BufferPool,
) -> Result<Look, CommissionError> {
    let id = || camera.id.clone();
    let failed = |source| CommissionError::Capture { camera: id(), source };
    let opened = clock.now();
    let (mut shutter, fire) = Shutter::of(camera);
    let mut source = capture::open_fired(camera, clock, pool, fire.as_ref()).map_err(failed)?;
    let (mut frames, mut last, mut first_after) = (0, opened, None);
    loop {
        shutter.press(clock.now().mono);
        match source.next(PULL).map_err(failed)? {
            Pulled::Captured(captured) => {
                shutter.release();
                let first_after = *first_after.get_or_insert_with(|| captured.at.since(opened));
                if frames == skip {
                    return Ok(Look { captured, negotiated: source.negotiated(), first_after });
                }
                (frames, last) = (frames + 1, captured.at);
            }
            Pulled::Nothing if clock.now().since(last) >= wait => {
                let is_fired = camera.trigger.allows_silence() && !camera.is_fired();
                return Err(CommissionError::Silent { camera: id(), waited_s: wait.as_secs_f64(), is_fired });
            }
            Pulled::Nothing => {}
            Pulled::Ended => return Err(CommissionError::Ended { camera: id(), frames }),
        }
    }
}

impl Look {
    /// Writes the frame, and says what it is like.
    pub fn save(&self, camera: &Camera, file: &Path) -> Result<String, CommissionError> {
        let image = self.captured.image.as_ref();
        let image = image
            .map_err(|cause| CommissionError::Damaged { camera: camera.id.clone(), cause: cause.clone() })?;
        let bytes = writing::png(image.picture())
            .map_err(|source| StoreError::Write { file: file.into(), source })?;
        write_new(file, &bytes)?;
        let Appearance { brightness, dark, bright, sharpness } = Appearance::of(image.picture());
        Ok(format!(
            "{} {}, first frame after {:.2} s, in {}\nbrightness {brightness:.0} of 255, {:.1} % black, {:.1} % white, sharpness {sharpness:.1}",
            format_name(image.format),
            image.size,
            self.first_after.as_secs_f64(),
            file.display(),
            100.0 * dark,
            100.0 * bright,
        ))
    }

    /// What the pipeline's elements hand on, one a line.
    pub fn pipeline(&self) -> String {
        let longest = self.negotiated.iter().map(|link| link.element.len()).max().unwrap_or(0);
        let line = |Negotiated { element, caps }: &Negotiated| format!("  {element:longest$}  {caps}");
        self.negotiated.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}
