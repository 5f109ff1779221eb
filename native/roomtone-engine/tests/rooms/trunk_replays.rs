//! A room on two media nodes whose inputs are recorded on each: each recording is played again by itself.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Instant;

use crate::common::{ROOM, World, slots};
use crate::trunks::Nodes;
use roomtone_engine::{Action, Command, Journal, JournalEnd, Replay};
use roomtone_testkit::peer::ClientOptions;

fn each_node_is_played_again(world: fn() -> World, options: fn() -> ClientOptions) {
    let journals = RefCell::new(Vec::new());
    let recorded = || {
        let (mut world, journal) = (world(), Journal::new());
        journals.borrow_mut().push(journal.clone());
        world.command(Command::new(ROOM, Action::RecordInputs { journal }));
        world
    };
    let mut nodes = Nodes::new(recorded, options);
    nodes.loses = 10;
    nodes.run_ms(2500);
    for (at, journal) in journals.borrow().iter().enumerate() {
        nodes.command(at, Action::Close);
        nodes.run_ms(50);
        let (mut replay, mut heard) = (Replay::new(Instant::now()).unwrap(), BTreeSet::new());
        while let Some(block) = journal.take() {
            let read = replay.read(&block, |packet| {
                heard.insert(packet.listener);
            });
            read.unwrap();
            journal.give_back(block);
        }
        assert_eq!(journal.ended(), Some(JournalEnd::Room));
        let counts = replay.counts();
        assert!(counts.compared >= 4 && counts.different == 0, "{counts:?}");
        // Those of this node: what goes by the trunk isn't sent to a listener.
        assert_eq!(heard, BTreeSet::from([[1, 2], [3, 4]][at]));
    }
}

#[test]
fn each_node_of_a_room_is_played_again_by_itself() {
    each_node_is_played_again(World::new, ClientOptions::default);
    each_node_is_played_again(World::mixing, ClientOptions::default);
    each_node_is_played_again(|| World::forwarding(3), || slots(3));
}
