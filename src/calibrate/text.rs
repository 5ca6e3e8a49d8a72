//! What is known about a threshold, in sentences that a person may sign.

use std::fmt;

use crate::calibrate::evidence::Obtained;
use crate::calibrate::share::{Bound, Percent};
use crate::calibrate::tail::{Estimate, LEVEL, Tail};
use crate::calibrate::{Calibration, Guarantee};

impl fmt::Display for Calibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { threshold, order, n, n_needed, .. } = self;
        write!(f, "threshold {threshold:.6}: number {order} from the top of {n} held-out good parts")?;
        if self.n_images() != *n {
            write!(f, " ({} images; a part counts with the largest score of its images)", self.n_images())?;
        }
        let (bound, confidence) = (Bound(self.attained_overkill_bound), Percent(self.confidence));
        write!(f, "; true overkill at most {bound} with {confidence} confidence")?;
        if let Obtained::Folds { k } = self.obtained {
            write!(
                f,
                ", if the final network scores new parts as the networks of the {k} folds do, which is assumed and not \
                 proven"
            )?;
        }
        let asked = Percent(self.target_overkill);
        match self.guarantee {
            Guarantee::Exact | Guarantee::CrossConformal => {
                write!(f, " (asked: {asked}, which takes {n_needed} parts)")?;
            }
            Guarantee::None => {
                write!(f, "; the {asked} asked for is not guaranteed: that takes {n_needed} held-out parts")?;
            }
        }
        if self.guard_band > 0.0 {
            let (band, in_band) = (self.guard_band, self.n_undecidable());
            write!(f, "; guard band {band:.6}: {in_band} of the {n} lie in it and are not decidable")?;
        }
        Ok(())
    }
}

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Estimate { value, low, high }, wanted) = (self.overkill, self.threshold_for_target);
        write!(
            f,
            "by a Pareto tail through the {} highest scores, an estimate and no guarantee: overkill {} ({level}: {} to \
             {}); the target by a threshold of {:.6} ({level}: {:.6} to {:.6})",
            self.exceedances,
            Percent(value),
            Percent(low),
            Percent(high),
            wanted.value,
            wanted.low,
            wanted.high,
            level = Percent(LEVEL),
        )
    }
}
