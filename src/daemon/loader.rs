//! The thread that makes ready what shall be judged by, while the other goes on judging.

use crossbeam_channel::{Receiver, Sender};

use crate::config::engine::Engine;
use crate::engine::{self, LoadError, room};
use crate::inference::rules::Rules;
use crate::inference::{Inspector, Ready};
use crate::products::{Wanted, Way};

/// What shall be made ready.
#[derive(Debug)]
pub struct Load {
    pub wanted: Box<Wanted>,
    pub way: Way,
    /// Those in force.
    pub rules: Option<Rules>,
}

/// Loads until nobody asks any more, and says how each went.
pub fn run(loads: &Receiver<Load>, done: &Sender<Result<Ready, LoadError>>, settings: &Engine) {
    // One thread: the cores are for the one who judges, and OpenMP would keep a second set of workers for this one.
    engine::threads::set(1);
    for load in loads {
        // There is room for the one answer that is waited for.
        drop(done.send(ready(load, settings)));
    }
}

fn ready(Load { wanted, way, rules }: Load, settings: &Engine) -> Result<Ready, LoadError> {
    let Wanted { product, config_sha256, .. } = *wanted;
    if let (Way::Rules, Some(rules)) = (way, rules) {
        return Ok(Ready::Rules(rules.changed(&product, &config_sha256)?));
    }
    if way == Way::Beside {
        room::check(&product.bundle, settings.device)?;
    }
    Ok(Ready::Inspector(Inspector::load(&product, settings, &config_sha256)?))
}
