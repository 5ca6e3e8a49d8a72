//! New settings for a station that runs: checked first, taken over after, and otherwise refused as a whole.

use crossbeam_channel::Sender;

use crate::causes;
use crate::config::Config;
use crate::config::problem::Problems;
use crate::config::reload::{changes, is_same_product};
use crate::events::{Event, Events};
use crate::inference::rules::Rules;
use crate::ledger::Report;

/// Reads the settings again, from the same places with the same checks as at the start.
pub type Reload<'a> = &'a dyn Fn() -> Result<Config, Problems>;

/// The settings in force and the ways to those who follow them.
#[derive(Debug)]
pub struct Apply<'a> {
    /// As the stages were built from them.
    pub config: &'a Config,
    pub rules: Rules,
    pub rules_in: Sender<Rules>,
    pub reports_in: Sender<Report>,
    pub events: &'a Events<'a>,
}

impl Apply<'_> {
    /// Takes over what can be taken over between two frames, and says what waits for a restart.
    pub fn reload(&self, load: Reload<'_>) {
        let new = match load() {
            Ok(new) => new,
            Err(problems) => {
                let cause =
                    format!("settings stay as they are: {}", problems.to_string().replace('\n', "; "));
                return self.events.tell(Event::ConfigRefused { cause });
            }
        };
        let changes = changes(self.config, &new);
        let waits = changes.iter().any(|change| !change.live);
        if is_same_product(&self.config.product, &new.product) {
            // What is in force is the new file only if nothing of it waits.
            let sha256 = if waits { &self.config.sha256 } else { &new.sha256 };
            let rules = match self.rules.changed(&new.product, sha256) {
                Ok(rules) => rules,
                Err(refused) => {
                    let cause = format!("settings stay as they are: {}", causes::chain(&refused));
                    return self.events.tell(Event::ConfigRefused { cause });
                }
            };
            // Both ends are there until every camera has stopped, and nobody reloads after that.
            drop(self.rules_in.send(rules));
            drop(self.reports_in.send(Report::Deadline(new.product.deadline)));
        }
        let changes = if changes.is_empty() {
            "settings are as they were at the start".to_owned()
        } else {
            changes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        self.events.tell(Event::ConfigApplied { changes });
    }
}
