//! Changes of product step by step, and at random.

use crate::appearance::limits::Own;
use std::path::PathBuf;
use std::time::SystemTime;

use proptest::collection;
use proptest::prelude::*;

use super::*;

type Actions = Vec<Action<&'static str>>;

fn at(s: u64) -> Moment {
    Moment { mono: Duration::from_secs(s), utc: SystemTime::UNIX_EPOCH }
}

fn wanted(name: &str, bundle: &str, sha: &str) -> Box<Wanted> {
    let product = Product {
        name: name.into(),
        file: format!("{name}.toml").into(),
        bundle: PathBuf::from(bundle),
        threshold: None,
        guard_band: None,
        deadline: Duration::from_millis(100),
        map_threshold: None,
        min_area_px: 0.0,
        mm_per_px: None,
        roi: None,
        image: Own::default(),
    };
    Box::new(Wanted {
        product,
        said: "tile".into(),
        config_sha256: sha.into(),
        stamp: Stamp::default(),
        changes: String::new(),
        id: None,
    })
}

/// What is done, in words.
fn words(actions: &VecDeque<Action<&'static str>>) -> Vec<String> {
    let word = |action: &Action<&'static str>| match action {
        Action::Load(wanted, way) => format!("load {} {way:?}", wanted.product.name),
        Action::Install { generation, loaded, .. } => format!("install {} {loaded}", generation.0),
        Action::Unload => "unload".into(),
        Action::Changed { wanted, came } => format!("changed {} {came:?}", wanted.product.name),
        Action::Refused { wanted, cause, .. } => format!("refused {}: {cause}", wanted.product.name),
        Action::Failed { cause } => format!("failed: {cause}"),
    };
    actions.iter().map(word).collect()
}

struct Story(Products);

impl Story {
    #[track_caller]
    fn expect(&mut self, happened: Happened<&'static str>, expected: &[&str]) -> &mut Self {
        assert_eq!(words(&self.0.step(happened, at(0))), expected);
        self
    }
}

fn refusal(is_room: bool) -> Happened<&'static str> {
    Happened::Loaded(Err(Refusal { cause: "no".into(), is_room }))
}

/// Judging by tile.
fn running(may_gap: bool) -> Story {
    let mut story = Story(Products::new(may_gap));
    story
        .expect(Happened::Wanted(wanted("tile", "tile", "1")), &["load tile Alone"])
        .expect(Happened::Loaded(Ok("tile")), &["install 1 tile"])
        .expect(Happened::Installed(Ok(())), &["changed tile First"]);
    story
}

#[test]
fn a_product_is_loaded_beside_the_one_in_use_and_that_one_goes_after_its_last_frame() {
    running(false)
        .expect(Happened::Wanted(wanted("cover", "cover", "2")), &["load cover Beside"])
        .expect(Happened::Loaded(Ok("cover")), &["install 2 cover"])
        .expect(Happened::Installed(Ok(())), &["changed cover Other"])
        .expect(Happened::Wanted(wanted("lid", "lid", "3")), &[])
        .expect(Happened::Retired(Generation(1)), &["load lid Beside"]);
}

#[test]
fn rules_of_the_same_bundle_need_no_load_and_nothing_new_is_no_change() {
    running(false)
        .expect(Happened::Wanted(wanted("tile", "tile", "2")), &["load tile Rules"])
        .expect(Happened::Loaded(Ok("rules")), &["install 2 rules"])
        .expect(Happened::Installed(Ok(())), &["changed tile Same"])
        .expect(Happened::Retired(Generation(1)), &[])
        .expect(Happened::Wanted(wanted("tile", "tile", "2")), &["changed tile Same"]);
}

#[test]
fn a_refused_change_leaves_everything_as_it_was() {
    let mut story = running(true);
    story
        .expect(Happened::Wanted(wanted("cover", "cover", "2")), &["load cover Beside"])
        .expect(refusal(false), &["refused cover: no"])
        .expect(Happened::Wanted(wanted("cover", "cover", "2")), &["load cover Beside"])
        .expect(Happened::Loaded(Ok("cover")), &["install 2 cover"])
        .expect(Happened::Installed(Err("no ROI".into())), &["refused cover: no ROI"]);
    assert_eq!(story.0.coming().unwrap().product.name, "tile");
}

#[test]
fn of_changes_that_wait_the_newest_wins() {
    running(false)
        .expect(Happened::Wanted(wanted("cover", "cover", "2")), &["load cover Beside"])
        .expect(Happened::Wanted(wanted("lid", "lid", "3")), &[])
        .expect(
            Happened::Wanted(wanted("tile", "tile", "1")),
            &["refused lid: another change was asked for before it began"],
        )
        .expect(refusal(false), &["refused cover: no", "changed tile Same"]);
}

#[test]
fn without_room_for_two_it_is_refused_or_there_is_a_gap() {
    let cover = || Happened::Wanted(wanted("cover", "cover", "2"));
    running(false).expect(cover(), &["load cover Beside"]).expect(refusal(true), &["refused cover: no"]);
    running(true)
        .expect(cover(), &["load cover Beside"])
        .expect(refusal(true), &["unload"])
        .expect(Happened::Retired(Generation(1)), &["load cover Alone"])
        .expect(Happened::Loaded(Ok("cover")), &["install 2 cover"])
        .expect(Happened::Installed(Ok(())), &["changed cover Other"]);
}

#[test]
fn what_was_unloaded_in_vain_comes_back() {
    let mut story = running(true);
    story
        .expect(Happened::Wanted(wanted("cover", "cover", "2")), &["load cover Beside"])
        .expect(refusal(true), &["unload"])
        .expect(Happened::Retired(Generation(1)), &["load cover Alone"])
        .expect(refusal(false), &["refused cover: no", "load tile Alone"])
        .expect(Happened::Loaded(Ok("tile")), &["install 2 tile"])
        .expect(Happened::Installed(Ok(())), &["changed tile Back"]);
}

#[test]
fn a_first_product_that_fails_is_tried_again_and_another_one_at_once() {
    let mut story = Story(Products::new(false));
    story
        .expect(Happened::Wanted(wanted("tile", "tile", "1")), &["load tile Alone"])
        .expect(refusal(false), &["failed: no"]);
    assert!(story.0.attend::<&str>(at(29)).is_empty());
    assert_eq!(words(&story.0.attend(at(30))), ["load tile Alone"]);
    story
        .expect(refusal(false), &["failed: no"])
        .expect(Happened::Wanted(wanted("cover", "cover", "2")), &["load cover Alone"])
        .expect(Happened::Loaded(Ok("cover")), &["install 1 cover"])
        .expect(Happened::Installed(Ok(())), &["changed cover First"]);
    assert!(story.0.attend::<&str>(at(1000)).is_empty());
}

#[test]
fn a_command_is_answered_also_where_nothing_is_in_force_and_leaves_what_is_tried_again() {
    let commanded = |name: &str| {
        let wanted = Wanted { id: Some("7".into()), ..*wanted(name, name, "2") };
        Happened::Wanted(Box::new(wanted))
    };
    let mut story = Story(Products::new(false));
    story
        .expect(Happened::Wanted(wanted("tile", "tile", "1")), &["load tile Alone"])
        .expect(refusal(false), &["failed: no"])
        .expect(commanded("cover"), &["load cover Alone"])
        .expect(refusal(false), &["refused cover: no"]);
    assert_eq!(words(&story.0.attend(at(30))), ["load tile Alone"]);
    story
        .expect(refusal(false), &["failed: no"])
        .expect(commanded("cover"), &["load cover Alone"])
        .expect(Happened::Loaded(Ok("cover")), &["install 1 cover"]);
    story.expect(Happened::Installed(Ok(())), &["changed cover First"]);
    // Its command is answered: what it leads to later is no answer to it any more.
    assert_eq!(story.0.coming().unwrap().id, None);
}

/// Carries out what is asked, sometimes in vain, and counts.
#[derive(Default)]
struct World {
    pending: VecDeque<Happened<&'static str>>,
    networks: Vec<u64>,
    most_networks: usize,
    in_force: Option<u64>,
    changed: usize,
    refused: usize,
    failed: usize,
}

impl World {
    fn carry_out(&mut self, actions: Actions, mut goes_well: impl FnMut() -> bool) {
        for action in actions {
            match action {
                Action::Load(_, way) => {
                    let is_room = way == Way::Beside;
                    self.pending.push_back(Happened::Loaded(if goes_well() {
                        Ok("network")
                    } else {
                        Err(Refusal { cause: "no".into(), is_room })
                    }));
                }
                Action::Install { generation, .. } => {
                    let went_well = goes_well();
                    let result = if went_well { Ok(()) } else { Err("no".to_owned()) };
                    self.pending.push_back(Happened::Installed(result));
                    if went_well {
                        self.networks.push(generation.0);
                        self.most_networks = self.most_networks.max(self.networks.len());
                        if let Some(before) = self.in_force.replace(generation.0) {
                            self.retire(before);
                        }
                    }
                }
                Action::Unload => {
                    let before = self.in_force.take().expect("something is in force");
                    self.retire(before);
                }
                Action::Changed { .. } => self.changed += 1,
                Action::Refused { .. } => self.refused += 1,
                Action::Failed { .. } => self.failed += 1,
            }
        }
    }

    fn retire(&mut self, generation: u64) {
        self.networks.retain(|&other| other != generation);
        self.pending.push_back(Happened::Retired(Generation(generation)));
    }
}

proptest! {
    #[test]
    fn every_change_is_answered_once_and_two_networks_are_the_most(
        may_gap: bool,
        steps in collection::vec((any::<bool>(), 0_u8..4, any::<[bool; 2]>()), 1..100),
    ) {
        let mut products = Products::new(may_gap);
        let mut world = World::default();
        let mut asked = 0;
        let settle = |products: &mut Products, world: &mut World, luck: [bool; 2]| {
            if let Some(happened) = world.pending.pop_front() {
                let actions = products.step(happened, at(0)).into();
                let mut luck = luck.into_iter();
                world.carry_out(actions, || luck.next().unwrap_or(true));
            }
        };
        for (is_request, which, luck) in steps {
            if is_request {
                asked += 1;
                let name = ["tile", "cover", "lid", "tray"][usize::from(which)];
                let actions = products.step(Happened::Wanted(wanted(name, name, name)), at(0)).into();
                let mut luck = luck.into_iter();
                world.carry_out(actions, || luck.next().unwrap_or(true));
            } else {
                settle(&mut products, &mut world, luck);
            }
        }
        while !world.pending.is_empty() {
            settle(&mut products, &mut world, [true; 2]);
        }
        prop_assert!(world.most_networks <= 2);
        // What comes back after a change in vain is a change of its own.
        let answered = world.changed + world.refused + world.failed;
        prop_assert!(answered >= asked, "{answered} answers to {asked}");
        prop_assert!(world.in_force.is_some() || world.failed > 0 || asked == 0);
    }
}
