//! Addresses and offers that change under a running connection.

use crate::common::{Client, ClientOptions, Link, MS};
use roomtone_transport::{AudioOut, Event, Offer};

fn audio(timestamp: u32, payload: &[u8]) -> AudioOut<'_> {
    AudioOut {
        timestamp,
        marker: false,
        level: Some(20),
        payload,
    }
}

#[test]
fn ice_restart_keeps_the_old_credentials_until_the_new_nominate() {
    let mut link = Link::connected(ClientOptions::default());
    let old = link.server.local_ufrags().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(old.len(), 1);
    let old_check = link.client.check(false, false);
    let old_nomination = link.client.check(true, false);

    let offer = Offer::parse(&link.client.restart()).unwrap();
    let answer = link.server.reoffer(link.now, &offer).unwrap();
    let ufrags: Vec<String> = link.server.local_ufrags().map(str::to_owned).collect();
    assert_eq!(ufrags.len(), 2);
    assert_eq!(ufrags[0], old[0]);
    assert!(answer.contains(&format!("a=ice-ufrag:{}\r\n", ufrags[1])));
    assert!(!answer.contains(&old[0]));

    // The old ones work still, the sound goes on.
    let before = link.server.stats().stun_requests;
    let from = link.client_address;
    link.inject(from, &old_check);
    assert_eq!(link.server.stats().stun_requests, before + 1);
    assert!(link.send_audio(audio(0, &[1])));

    // Not even an old nomination ends the restart.
    link.inject(from, &old_nomination);
    assert_eq!(link.server.local_ufrags().count(), 2);

    // The same offer again changes nothing.
    let again = link.server.reoffer(link.now, &offer).unwrap();
    assert!(again.contains(&format!("a=ice-ufrag:{}\r\n", ufrags[1])));

    // The client moves to another address with the new ones: first a plain check, then the
    // nomination.
    link.client.take_answer(&answer);
    let moved = "203.0.113.9:41000".parse().unwrap();
    let plain = link.client.check(false, false);
    link.inject(moved, &plain);
    assert_eq!(link.server.stats().selected, Some(from));
    assert_eq!(link.server.local_ufrags().count(), 2);
    let nominating = link.client.check(true, false);
    link.inject(moved, &nominating);
    assert_eq!(link.server.stats().selected, Some(moved));
    assert_eq!(link.server.local_ufrags().collect::<Vec<_>>(), [ufrags[1].as_str()]);
    link.pump();
    assert!(
        link.events
            .iter()
            .any(|(_, e)| matches!(e, Event::UfragRetired(u) if *u == old[0]))
    );
    let answered = link.server.stats().stun_requests;
    link.inject(from, &old_check);
    assert_eq!(
        link.server.stats().stun_requests,
        answered,
        "the old ones are out of use"
    );

    link.client_address = moved;
    link.client_hears = vec![moved];
    link.client.send_audio(1, 1, None, &[9]);
    assert!(link.send_audio(audio(960, &[2])));
    link.run(100 * MS);
    assert_eq!(link.rtp().len(), 1);
    assert_eq!(link.client.rtp.last().unwrap().1.last(), Some(&2));
}

#[test]
fn an_unused_restart_is_replaced_by_the_next() {
    let mut link = Link::connected(ClientOptions::default());
    let first = Offer::parse(&link.client.restart()).unwrap();
    link.server.reoffer(link.now, &first).unwrap();
    let unused = link.server.local_ufrags().last().unwrap().to_owned();
    let second = Offer::parse(&link.client.restart()).unwrap();
    link.server.reoffer(link.now, &second).unwrap();
    assert_eq!(link.server.local_ufrags().count(), 2);
    assert!(!link.server.local_ufrags().any(|u| u == unused));
    link.pump();
    assert!(
        link.events
            .iter()
            .any(|(_, e)| matches!(e, Event::UfragRetired(u) if *u == unused))
    );
}

#[test]
fn a_plain_reoffer_changes_direction_and_ssrc_and_nothing_else() {
    let mut link = Link::connected(ClientOptions::default());
    let ufrag = link.server.local_ufrags().next().unwrap().to_owned();
    link.client.send_audio(1, 1, None, &[1]);
    link.run(20 * MS);
    link.client.options.ssrc = 99;
    link.client.options.direction = "sendonly";
    let offer = Offer::parse(&link.client.offer()).unwrap();
    let answer = link.server.reoffer(link.now, &offer).unwrap();
    assert!(answer.contains(&format!("a=ice-ufrag:{ufrag}\r\n")));
    assert!(answer.contains("a=recvonly\r\n"));
    let version = |sdp: &str| {
        sdp.lines()
            .nth(1)
            .unwrap()
            .split(' ')
            .nth(2)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    assert_eq!(version(&answer), version(&link.client.answers[0]) + 1);
    assert!(!link.server.can_send());
    link.client.send_audio(7, 1, None, &[2]);
    link.client.options.ssrc = 0x1122_3344;
    link.client.send_audio(2, 1, None, &[3]);
    link.run(20 * MS);
    let heard: Vec<u8> = link.rtp().iter().map(|p| p.payload[0]).collect();
    assert_eq!(heard, [1, 2], "the new SSRC is let in, the old one not any more");
}

#[test]
fn a_reoffer_of_somebody_else_is_refused_and_changes_nothing() {
    let mut link = Link::connected(ClientOptions::default());
    let other = Client::new(link.now, ClientOptions::default());
    let error = link
        .server
        .reoffer(link.now, &Offer::parse(&other.offer()).unwrap())
        .unwrap_err();
    assert_eq!(error.code(), "fingerprint_changed");
    let moved = link
        .client
        .offer()
        .replace("a=mid:0", "a=mid:1")
        .replace("BUNDLE 0", "BUNDLE 1");
    let error = link
        .server
        .reoffer(link.now, &Offer::parse(&moved).unwrap())
        .unwrap_err();
    assert_eq!(error.code(), "media_changed");
    assert_eq!(link.server.local_ufrags().count(), 1);
    assert!(link.server.can_send());
}

#[test]
fn the_sound_follows_the_clients_nomination() {
    let mut link = Link::connected(ClientOptions::default());
    let moved = "203.0.113.9:41000".parse().unwrap();
    link.client_address = moved;
    link.client_hears = vec![moved];
    link.run_until(2_000 * MS, |l| l.server.stats().selected == Some(moved));
    assert_eq!(link.server.stats().selected, Some(moved));
    assert!(link.send_audio(audio(0, &[5])));
    link.client.send_audio(3, 3, None, &[6]);
    link.run(50 * MS);
    assert_eq!((link.client.rtp.len(), link.rtp().len()), (1, 1));
    // and the old address is given back after a while
    link.run(35_000 * MS);
    let old: std::net::SocketAddr = "198.51.100.7:40000".parse().unwrap();
    assert!(
        link.events
            .iter()
            .any(|(_, e)| matches!(e, Event::AddressRetired(a) if *a == old))
    );
    assert!(!link.server.is_closed());
}

#[test]
fn a_client_is_followed_to_another_address_when_its_old_one_is_silent() {
    let mut link = Link::connected(ClientOptions::default());
    link.client.nominate = false;
    let (old, moved) = (link.client_address, "203.0.113.9:41000".parse().unwrap());
    link.client_address = moved;
    link.client_hears = vec![moved];
    link.run(3_000 * MS);
    assert_eq!(link.server.stats().selected, Some(old));
    link.run(3_000 * MS);
    assert_eq!(link.server.stats().selected, Some(moved));
}

const HIGH: u32 = 0x7E00_00FF;
const LOW: u32 = 0x6400_00FF;

/// Runs for `time` with both addresses nominated every 2.5 s, as long as `high` lives, the low one
/// 100 ms later. Returns how many of our packets went to the high one and to the low one.
fn both_nominated(link: &mut Link, time: u32, high_lives: bool) -> (usize, usize) {
    let (high, low) = (link.client_address, "203.0.113.9:41000".parse().unwrap());
    let mut counts = (0, 0);
    for ms in (0..time).step_by(20) {
        if ms % 2_500 == 0 && high_lives {
            let check = link.client.nomination(HIGH);
            link.inject(high, &check);
        }
        if ms % 2_500 == 100 {
            let check = link.client.nomination(LOW);
            link.inject(low, &check);
        }
        let selected = link.server.stats().selected;
        counts.0 += usize::from(selected == Some(high));
        counts.1 += usize::from(selected == Some(low));
        link.run(20 * MS);
    }
    counts
}

#[test]
fn of_two_nominated_addresses_the_one_with_the_higher_priority_gets_the_sound() {
    let mut link = Link::connected(ClientOptions::default());
    link.client.checking = false;
    let (high, low) = both_nominated(&mut link, 20_000, true);
    assert_eq!((high, low), (1_000, 0));
    // It falls silent: five seconds later the other one has it.
    let (high, low) = both_nominated(&mut link, 10_000, false);
    assert!((90..=270).contains(&high) && low > 200, "{high} and {low}");
    // It is back: so is the sound.
    let (high, _) = both_nominated(&mut link, 2_000, true);
    assert_eq!(high, 100);
}

#[test]
fn the_address_to_which_the_media_moved_gets_the_sound_within_a_second() {
    let mut link = Link::connected(ClientOptions::default());
    link.client.checking = false;
    let (wifi, mobile) = (link.client_address, "203.0.113.9:41000".parse().unwrap());
    for (address, priority) in [(wifi, HIGH), (mobile, LOW)] {
        let check = link.client.nomination(priority);
        link.inject(address, &check);
    }
    let mut seq = 0;
    let mut speak = |link: &mut Link, from, packets: u16| {
        for _ in 0..packets {
            seq += 1;
            let packet = link.client.rtp_packet(seq, u32::from(seq) * 960, None, &[1]);
            let sealed = link.client.seal_rtp(&packet);
            link.inject(from, &sealed);
            link.run(20 * MS);
        }
        link.server.stats().selected
    };
    assert_eq!(speak(&mut link, wifi, 100), Some(wifi));
    assert_eq!(speak(&mut link, mobile, 40), Some(wifi), "800 ms prove nothing");
    assert_eq!(speak(&mut link, mobile, 15), Some(mobile));
    // Signs of life of the old address don't bring it back while the media stays away, and media
    // does at once.
    let check = link.client.nomination(HIGH);
    link.inject(wifi, &check);
    assert_eq!(speak(&mut link, mobile, 100), Some(mobile));
    assert_eq!(speak(&mut link, wifi, 1), Some(wifi));
}

#[test]
fn an_address_that_the_client_has_left_for_another_of_lower_priority_is_left() {
    let mut link = Link::connected(ClientOptions::default());
    link.client.checking = false;
    let (first, second) = (link.client_address, "203.0.113.9:41000".parse().unwrap());
    let check = link.client.nomination(HIGH);
    link.inject(first, &check);
    let check = link.client.nomination(LOW);
    link.inject(second, &check);
    assert_eq!(link.server.stats().selected, Some(first));
    // Its checks go on, without nominating.
    let check = link.client.check(false, false);
    link.inject(first, &check);
    assert_eq!(link.server.stats().selected, Some(second));
}
