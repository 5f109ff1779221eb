//! The pauses of a talker of another node aren't losses.

use crate::common::{TONE_DBFS, World, slots};
use crate::trunks::Nodes;
use roomtone_engine::{Action, PeerId};
use roomtone_testkit::fixtures::{Burst, OpusTalker};
use roomtone_testkit::peer::ClientOptions;

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
    }
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
