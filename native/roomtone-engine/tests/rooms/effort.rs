//! A mix that few hear is encoded otherwise than one that many do; nobody hears the passage from one to the other.

use crate::common::{ROOM, TONE_DBFS, World};
use roomtone_engine::{Action, Command};
use roomtone_testkit::listen::{dbfs, goertzel_amplitude};
use roomtone_testkit::peer::ClientOptions;

const TALKER: u64 = 1;
const LISTENER: u64 = 2;
/// 50 ms.
const BLOCK: usize = 2400;

/// RFC 6716 §3.1: configurations from 16 on are CELT alone.
fn is_celt(payload: &[u8]) -> bool {
    payload[0] >> 3 >= 16
}

fn come(world: &mut World, people: std::ops::RangeInclusive<u64>) {
    people.for_each(|id| world.join(id, ClientOptions::default()));
    world.connect();
}

fn go(world: &mut World, people: std::ops::RangeInclusive<u64>) {
    for peer in people {
        world.command(Command::new(ROOM, Action::Leave { peer }));
        world.clients.remove(&peer);
    }
}

/// The power of what isn't the tone, in blocks, relative to the tone: fourth differences leave hardly anything of a low tone, and all
/// of a click.
fn sharpness(pcm: &[f32]) -> Vec<f32> {
    let sharp = |w: &[f32]| w[0] - 4.0 * w[1] + 6.0 * w[2] - 4.0 * w[3] + w[4];
    let differences: Vec<f32> = pcm.windows(5).map(sharp).collect();
    let rms = |block: &[f32]| (block.iter().map(|x| x * x).sum::<f32>() / block.len() as f32).sqrt();
    differences.chunks_exact(48).map(rms).collect()
}

#[test]
fn a_mix_passes_from_few_to_many_and_back_unheard() {
    let mut world = World::mixing();
    world.join_talking(TALKER);
    come(&mut world, 2..=8);
    world.run_ms(1000);
    world.clients.get_mut(&LISTENER).unwrap().payloads = Some(Vec::new());
    world.run_ms(1000);
    // The eighth makes it a mix of many; when two have gone it is one of few again.
    come(&mut world, 9..=9);
    world.run_ms(1000);
    go(&mut world, 8..=9);
    world.run_ms(1000);

    let client = &world.clients[&LISTENER];
    client.assert_continuous();
    let payloads = client.payloads.as_ref().unwrap();
    let celt: Vec<bool> = payloads.iter().map(|payload| is_celt(payload)).collect();
    let passages = celt.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(celt[0] && passages == 2 && celt[celt.len() - 1], "{celt:?}");
    let bytes = |celt: bool| {
        let sizes = payloads.iter().filter(|payload| is_celt(payload) == celt);
        let sizes: Vec<usize> = sizes.map(|payload| payload.len()).collect();
        sizes.iter().sum::<usize>() / sizes.len()
    };
    assert!((220..=260).contains(&bytes(true)), "{} bytes", bytes(true));
    assert!(bytes(false) < 100, "{} bytes", bytes(false));

    let pcm = client.ear.recent(3.0);
    for block in pcm.chunks_exact(BLOCK) {
        let level = dbfs(goertzel_amplitude(block, world.clients[&TALKER].hz));
        assert!((level - TONE_DBFS).abs() < 0.5, "{level} dBFS");
    }
    // A click would stand out: from silence to this tone's peak in a sample it is 2.4 times its amplitude.
    let amplitude = 10f32.powf(TONE_DBFS / 20.0);
    let worst = sharpness(&pcm).into_iter().fold(0.0, f32::max);
    assert!(worst < 0.02 * amplitude, "{} of the tone", worst / amplitude);
}

#[test]
fn one_who_comes_and_goes_at_the_edge_changes_nothing() {
    let mut world = World::mixing();
    world.join_talking(TALKER);
    come(&mut world, 2..=9);
    world.run_ms(500);
    world.clients.get_mut(&LISTENER).unwrap().payloads = Some(Vec::new());
    for guest in 20..24 {
        go(&mut world, 9..=9);
        go(&mut world, guest - 1..=guest - 1);
        world.run_ms(200);
        come(&mut world, guest..=guest);
        world.run_ms(200);
    }
    let payloads = world.clients[&LISTENER].payloads.as_ref().unwrap();
    assert!(payloads.len() > 70 && !payloads.iter().any(|payload| is_celt(payload)));
}
