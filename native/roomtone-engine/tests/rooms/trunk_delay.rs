//! A talker of another node is heard as soon as one of the same node, and their pauses aren't losses.

use std::time::Duration;

use crate::common::{TONE_DBFS, World, slots};
use crate::trunks::{Nodes, heard_in_row, row_with_relays, run_row, watch_row};
use roomtone_engine::{Action, PeerId};
use roomtone_testkit::fixtures::{Burst, OpusTalker};
use roomtone_testkit::peer::ClientOptions;

const MS: Duration = Duration::from_millis(1);

/// 1, on the first node, says a word of 100 ms each second, and nobody else says anything.
fn words(mut nodes: Nodes) -> Nodes {
    for world in &mut nodes.worlds {
        for client in world.clients.values_mut() {
            client.talker = None;
        }
    }
    say(&mut nodes, 1);
    nodes
}

fn say(nodes: &mut Nodes, id: PeerId) {
    let client = nodes.worlds[0].clients.get_mut(&id).unwrap();
    let burst = Burst::new(client.hz, 10f32.powf(TONE_DBFS / 20.0), 4_800, 48_000, 24_000);
    client.talker = Some(OpusTalker::new(burst, 32_000).unwrap());
}

/// From here on what a listener of each node hears.
fn listen(nodes: &mut Nodes) {
    for (at, id) in [(0, 2), (1, 4)] {
        let client = nodes.worlds[at].clients.get_mut(&id).unwrap();
        client.heard.clear();
        client.lasts.clear();
        client.heard_from.clear();
        client.payloads = Some(Vec::new());
    }
}

/// How much later each packet that both listeners got came to the one on the other node.
fn later_elsewhere(nodes: &Nodes) -> Vec<Duration> {
    // Each world has a clock of its own.
    let [here, there] = [(0, 2), (1, 4)].map(|(at, id)| {
        let (now, client) = (nodes.worlds[at].now, &nodes.worlds[at].clients[&id]);
        let ago = client.heard.iter().map(move |heard| now - heard.0);
        ago.zip(client.payloads.iter().flatten()).collect::<Vec<_>>()
    });
    assert_eq!(here.len(), there.len());
    let pairs = here.iter().zip(&there);
    let later = pairs.map(|((here, payload), (there, same))| {
        assert_eq!(payload, same);
        *here - *there
    });
    later.collect()
}

#[test]
fn one_who_talks_alone_is_heard_as_soon_on_another_node_as_on_their_own() {
    let forwarding = Nodes::new(|| World::forwarding(3), || slots(3));
    for nodes in [Nodes::new(World::new, ClientOptions::default), forwarding] {
        let mut nodes = words(nodes);
        nodes.run_ms(3_000);
        listen(&mut nodes);
        nodes.run_ms(10_000);
        let later = later_elsewhere(&nodes);
        // A word, and the pause after it until the gate closes.
        assert_eq!(later.len(), 10 * 24);
        assert!(later.iter().all(|later| *later <= MS), "{later:?}");
    }
}

#[test]
fn the_only_talker_of_a_node_waits_for_nobody_whom_that_passes_on_elsewhere() {
    // The node in the middle passes the talker of the first on to the third alone.
    let mut worlds = row_with_relays(|at| at == 1);
    worlds[2].clients.get_mut(&3).unwrap().talker = None;
    run_row(&mut worlds, 2_500);
    for talker in [0, 1] {
        assert!(heard_in_row(&worlds, 2, talker).abs() <= 0.5);
    }
    let (mut said, mut left_at_once) = (0, 0);
    for _ in 0..1_000 {
        let next = worlds[1].clients[&2].next_talk;
        let mut left = false;
        watch_row(&mut worlds, 1, |from, to| left |= (from, to) == (1, 0));
        if worlds[1].clients[&2].next_talk != next {
            said += 1;
            left_at_once += usize::from(left);
        }
    }
    assert_eq!((said, left_at_once), (50, 50));
}

#[test]
fn a_talkers_pauses_are_no_losses_to_the_listeners_of_another_node() {
    for nodes in Nodes::of_all_kinds() {
        let mut nodes = words(nodes);
        nodes.run_ms(3_000);
        listen(&mut nodes);
        nodes.run_ms(5_000);
        // Muted in the middle of a word.
        nodes.command(0, Action::SetSpeak { peer: 1, speak: false });
        nodes.run_ms(5_030);
        nodes.command(0, Action::SetSpeak { peer: 1, speak: true });
        nodes.run_ms(5_000);
        for (at, id) in [(0, 2), (1, 4)] {
            let listener = &nodes.worlds[at].clients[&id];
            assert!(listener.heard.len() > 200, "{}", listener.heard.len());
            listener.assert_continuous();
        }
    }
}

#[test]
fn packets_of_several_talkers_share_a_datagram() {
    let mut nodes = Nodes::new(World::mixing, ClientOptions::default);
    nodes.worlds[1].clients.get_mut(&3).unwrap().talker = None;
    nodes.run_ms(500);
    let sent = |nodes: &Nodes| nodes.worlds[0].shard.stats().trunk_datagrams_out;
    let alone = sent(&nodes);
    nodes.run_ms(1_000);
    assert!((50..=52).contains(&(sent(&nodes) - alone)));
    nodes.worlds[0].talk(2, TONE_DBFS);
    let first = nodes.worlds[0].clients[&1].next_talk;
    nodes.worlds[0].clients.get_mut(&2).unwrap().next_talk = first + 4 * MS;
    nodes.run_ms(100);
    let together = sent(&nodes);
    nodes.run_ms(1_000);
    assert!((50..=52).contains(&(sent(&nodes) - together)));
    nodes.assert_heard(4, 1, 0.0);
    nodes.assert_heard(4, 2, 0.0);
}
