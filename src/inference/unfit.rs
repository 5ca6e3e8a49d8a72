//! Pictures that the network knows nothing about: answered for before it is asked.

use std::sync::Arc;
use std::time::Duration;

use crate::appearance::Look;
use crate::clock::Moment;
use crate::events::Event;
use crate::frame::Frame;
use crate::inference::Context;
use crate::inference::rules::Rules;
use crate::ledger::Report;
use crate::verdict::{Judgement, Reason};

/// Pictures that go on being odd are told again after this long.
const TELL_AGAIN: Duration = Duration::from_mins(1);

/// What was told of each camera's pictures, and what those in hand look like.
#[derive(Debug, Default)]
pub(super) struct Unfit {
    /// When it was told last that pictures are odd, by the camera's position; None since one was not.
    told: Vec<Option<Moment>>,
    /// Of the frames that are left, in their order.
    brightness: Vec<f64>,
}

impl Unfit {
    /// Answers for frames out of range and takes them out. Gives the mean brightness of those that are left.
    pub(super) fn refuse(&mut self, rules: &Rules, batch: &mut Vec<Frame>, context: &Context<'_>) -> &[f64] {
        let Self { told, brightness } = self;
        brightness.clear();
        let is_odd = |frame: &mut Frame| {
            let look = Look::at(frame.image.picture());
            let camera = frame.trigger.key.camera;
            if camera >= told.len() {
                told.resize(camera + 1, None);
            }
            let Some(oddity) = rules.image.oddity(&look) else {
                brightness.push(look.appearance.brightness);
                told[camera] = None;
                return false;
            };
            let now = context.clock.now();
            if told[camera].is_none_or(|at| now.since(at) >= TELL_AGAIN) {
                told[camera] = Some(now);
                if let Some(events) = &context.events {
                    let (camera, cause) = (frame.trigger.camera.clone(), oddity.to_string());
                    events.tell(Event::PictureOutOfRange { camera, cause });
                }
            }
            true
        };
        for frame in batch.extract_if(.., is_odd) {
            let recipe = Some(Arc::clone(&rules.recipe));
            let judgement = Judgement::not_inspected(Reason::ImageOutOfRange, recipe);
            // The ledger outlives inference: it ends when the last sender is gone.
            drop(context.reports.send(Report::Closed { key: frame.trigger.key, judgement }));
        }
        brightness
    }
}
