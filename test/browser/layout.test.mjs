// Whether everything fits: the page of a room is as high as the window, with a chat of sixty messages and sixty people in it, and what goes
// wrong is never over a field or a button.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { violations } from "./support/axe.mjs";
import { everybodyGoes, openBrowser, Person } from "./support/person.mjs";
import { Server, TMP, together } from "./support/server.mjs";

const ROOM = "All hands";
const SIZES = [
  [1280, 800],
  [1440, 900],
  [390, 844],
  [360, 740],
  [320, 640],
  [740, 360],
];
let server, browser, ada, kim;

before(async () => {
  [server, browser] = await together(Server.start("layout", {}, undefined, { shell: true }), openBrowser());
  ada = await Person.arrive("Ada", 500, { browser });
  await ada.join(server.url, ROOM);
});

after(async () => {
  await everybodyGoes([ada, kim]);
  await browser?.close();
  await server?.kill();
});

/** So many people who never connect, each with an offer as a browser makes it, and a message. */
async function crowd(from, to) {
  const offer = await ada.page.evaluate(async () => {
    const link = new RTCPeerConnection();
    link.addTransceiver("audio");
    const { sdp } = await link.createOffer();
    link.close();
    return sdp;
  });
  await server.run(`
    offer = Base.decode64!("${Buffer.from(offer).toString("base64")}")
    for n <- ${from}..${to} do
      # A room takes thirty messages at once, and ten a second.
      if n > 25, do: Process.sleep(100)
      {:ok, _} = Roomtone.join("${ROOM}", "Person #{n}", offer)
      # Only those whose sound is connected are participants: these are told that theirs is.
      pid = Map.fetch!(:sys.get_state(Roomtone.RoomServer.whereis("${ROOM}")).pids, "Person #{n}")
      send(pid, {:media, {:connected, %{peer: :sys.get_state(pid).peer.id}}})
      _ = :sys.get_state(pid)
      {:ok, _} = Roomtone.say("${ROOM}", "Person #{n}", "This is what person number #{n} has to say, and it takes more than a line. https://example.org/#{n}")
    end`);
}

/** Those of the elements that aren't wholly in the window, or have something else over them. */
async function hidden(page, selectors) {
  return await page.evaluate((all) => {
    return all.flatMap((selector) => {
      const element = document.querySelector(selector);
      if (!element?.checkVisibility()) return [`${selector} isn't shown`];
      const { left, right, top, bottom } = element.getBoundingClientRect();
      if (left < 0 || top < 0 || right > innerWidth || bottom > innerHeight) return [`${selector} ends at ${right}, ${bottom}`];
      const over = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
      return element.contains(over) ? [] : [`${selector} is under ${over?.id || over?.className}`];
    });
  }, selectors);
}

const BUTTONS = ["#mute", "#deafen", "#hand", "#devices", "#leave"];

/** At every size: nothing to scroll but the lists, the buttons in reach, and the field of the chat. */
async function fits({ page }, what) {
  for (const [width, height] of SIZES) {
    await page.setViewportSize({ width, height });
    const where = `${what}, ${width}×${height}`;
    const narrow = await page.locator("#show-chat").isVisible();
    assert.deepEqual(await hidden(page, [...BUTTONS, "#show-invite"]), [], where);
    // Up to their edge: what is beside them takes nothing of them.
    const reduced = await page.locator(".room-title .button:visible").evaluateAll((all) =>
      all.filter((one) => {
        const { left, width, bottom } = one.getBoundingClientRect();
        return [0.25, 0.5, 0.75].some((part) => !one.contains(document.elementFromPoint(left + part * width, bottom - 6)));
      }).map(({ id }) => id),
    );
    assert.deepEqual(reduced, [], `${where}: under something else`);
    if (narrow) await page.locator("#show-chat").click();
    await page.locator("#chat-text").waitFor();
    assert.deepEqual(await hidden(page, [...BUTTONS, "#chat-text", "#chat-form button"]), [], `${where}, chat`);
    const over = await page.evaluate(() => {
      const { scrollHeight, scrollWidth } = document.documentElement;
      return [Math.max(0, scrollWidth - innerWidth), Math.max(0, scrollHeight - innerHeight)];
    });
    assert.deepEqual(over, [0, 0], `${where}: the page can be scrolled`);
    const cut = await page.locator(".controls .buttons button:visible").evaluateAll((all) =>
      all.filter((one) => one.scrollWidth > one.clientWidth).map(({ id }) => id),
    );
    assert.deepEqual(cut, [], `${where}: words don't fit in their button`);
    if (narrow) await page.locator("#close-chat").click();
  }
  await page.setViewportSize({ width: 1280, height: 800 });
}

test("a room fits the window, alone in it", async () => {
  await fits(ada, "alone");
});

/** The links, the title and the buttons at the head of the page that the settings cover by a part. */
function cutBySettings() {
  const panel = document.querySelector("#devices-panel").getBoundingClientRect();
  return [...document.querySelectorAll("body > header a, .site-head a, .room-title h1, .room-title .button, .room-now")]
    .filter((one) => one.checkVisibility())
    .map((one) => ({ what: one.id || one.textContent.trim(), box: one.getBoundingClientRect() }))
    .filter(({ box }) => box.bottom > panel.top + 1 && box.right > panel.left && box.left < panel.right && box.top < panel.top - 1)
    .map(({ what, box }) => `${what}: from ${Math.round(box.top)} to ${Math.round(box.bottom)}, and the settings begin at ${Math.round(panel.top)}`);
}

test("the settings leave the way out of them and out of the room in reach, on a telephone held sideways, too", async () => {
  const { page } = ada;
  await page.locator("#devices").click();
  for (const [width, height] of [...SIZES, [1280, 740], [1280, 600], [320, 568], [844, 390]]) {
    await page.setViewportSize({ width, height });
    await page.locator("#devices-panel").evaluate((panel) => panel.scrollTo(0, panel.scrollHeight));
    assert.deepEqual(await hidden(page, ["#close-devices", "#mute", "#leave"]), [], `${width}×${height}`);
    assert.deepEqual(await page.evaluate(cutBySettings), [], `${width}×${height}`);
  }
  await page.locator("#close-devices").click();
  await page.setViewportSize({ width: 1280, height: 800 });
});

test("the list of microphones is as high as its entries in a low window", async () => {
  const { page } = ada;
  for (const [width, height] of [[1280, 600], [844, 390]]) {
    await page.setViewportSize({ width, height });
    await page.locator("#microphones").click();
    await page.locator("#microphone-menu [role^=menuitem]").first().waitFor();
    const empty = await page.locator("#microphone-menu").evaluate((menu) => {
      const entries = [...menu.children].map((one) => one.getBoundingClientRect().bottom);
      return menu.getBoundingClientRect().bottom - Math.max(...entries);
    });
    assert.ok(empty < 20, `${width}×${height}: ${empty} px below the last entry`);
    await page.keyboard.press("Escape");
  }
  await page.setViewportSize({ width: 1280, height: 800 });
});

test("a room fits the window with a few people, whose tiles grow and stand in the middle", async () => {
  await crowd(1, 3);
  await ada.participant("Person 3").waitFor();
  await fits(ada, "four people");
  const [tile, people] = await Promise.all([ada.participant("Person 1").boundingBox(), ada.page.locator(".people").boundingBox()]);
  assert.ok(tile.width > 300 && tile.height > 150, `a tile is ${tile.width}×${tile.height}`);
  const tiles = await ada.page.locator("[data-participant]").evaluateAll((all) => all.map((one) => one.getBoundingClientRect().toJSON()));
  const middle = (Math.min(...tiles.map(({ left }) => left)) + Math.max(...tiles.map(({ right }) => right))) / 2;
  assert.ok(Math.abs(middle - people.x - people.width / 2) < 10, "the tiles aren't in the middle");
});

test("upright on a telephone, the whole name of whoever speaks is in the status line, and nothing moves for it", async () => {
  const { page } = ada;
  const name = "Benjamin Montgomery-Featherstone";
  const talking = page.locator("#talking");
  const top = () => page.locator(".people").evaluate((people) => people.getBoundingClientRect().top);
  const ben = await Person.arrive(name, 1100, { browser });
  await page.setViewportSize({ width: 360, height: 740 });
  await talking.and(page.locator(":empty")).waitFor({ state: "attached" });
  const before = await top();
  await ben.join(server.url, ROOM);
  await talking.getByText(name).waitFor();
  const cut = () => talking.evaluate((line) => [line.scrollWidth > line.clientWidth, line.scrollHeight > line.clientHeight]);
  assert.deepEqual(await cut(), [false, false]);
  assert.equal(await top(), before);
  // The longest name that there may be has two lines.
  await talking.evaluate((line) => (line.textContent = `Speaking: ${"Benjamin ".repeat(7)}`));
  assert.deepEqual(await cut(), [false, false]);
  await ben.leave();
  await ben.go();
  await page.setViewportSize({ width: 1280, height: 800 });
});

test("a room fits the window with sixty people and sixty messages", async () => {
  await crowd(4, 62);
  await ada.page.locator("#hidden").getByText("3 people").waitFor();
  await fits(ada, "sixty people");
  // The newest message is in sight, and the first screen has more than twenty people.
  assert.ok((await ada.page.locator("#chat-log").evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight)) < 2);
  assert.ok(await ada.page.locator("[data-message]").last().isVisible());
  const bottom = await ada.page.locator(".people").evaluate((people) => people.getBoundingClientRect().bottom);
  const seen = await ada.page
    .locator("[data-participant]")
    .evaluateAll((all, bottom) => all.filter((one) => one.getBoundingClientRect().bottom <= bottom).length, bottom);
  assert.ok(seen > 20, `${seen} people are on the first screen`);
  // Somebody far down: what one may do about them opens in sight, and the list stays where it was.
  await ada.participant("Person 55").scrollIntoViewIfNeeded();
  const place = await ada.page.locator(".people").evaluate((people) => people.scrollTop);
  await ada.participant("Person 55").click();
  await ada.page.locator("#person-panel").getByRole("heading", { name: "Person 55" }).waitFor();
  assert.deepEqual(await hidden(ada.page, ["#volume", "#close-person"]), []);
  assert.equal(await ada.page.locator(".people").evaluate((people) => people.scrollTop), place);
  await ada.page.keyboard.press("Escape");
  await ada.page.locator("#person-panel").waitFor({ state: "detached" });
});

test("captions are off until they are switched on, fit the window, and can be saved", async () => {
  const say = (name, text) => server.run(`{:ok, _} = Roomtone.caption("${ROOM}", "${name}", "${text}")`);
  const { page } = ada;
  await say("Person 1", "Good morning. Can everybody hear me?");
  await page.locator('#show-captions[aria-pressed="false"]').click();
  await say("Ada", "Yes, loud and clear, and I read it, too, which helps with all this noise.");
  await page.locator("#captions-log").getByText("loud and clear").waitFor();
  await fits(ada, "captions");
  await page.setViewportSize({ width: 360, height: 740 });
  await page.screenshot({ path: join(TMP, "captions-360.png") });
  assert.deepEqual(await hidden(page, ["#captions-log p:last-child", "#save-captions"]), []);
  assert.deepEqual(await violations(page), []);
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.screenshot({ path: join(TMP, "captions-1280.png") });
  const [file] = await Promise.all([page.waitForEvent("download"), page.locator("#save-captions").click()]);
  assert.equal(file.suggestedFilename(), `${ROOM}.vtt`);
  const text = readFileSync(await file.path(), "utf8");
  assert.match(text, /^WEBVTT\n\n00:00:00\.000 --> [^]*\n00:00:0\d\.\d{3} --> 00:00:0\d\.\d{3}\n<v Person 1>Good morning/);
  await page.locator("#show-captions").click();
  await page.locator("#captions").waitFor({ state: "detached" });
});

test("a link in the chat can be followed, and tells its site nothing", async () => {
  const link = ada.page.locator("#chat-log a").last();
  assert.match(await link.getAttribute("href"), /^https:\/\/example\.org\/\d+$/);
  assert.deepEqual((await link.getAttribute("rel")).split(" ").sort(), ["nofollow", "noopener", "noreferrer"]);
  assert.match(await ada.page.locator("#chat-log time").last().innerText(), /\d/);
});

test("a banner is in the way of nothing, and can be closed", async () => {
  kim = await Person.arrive("Kim", 800, {
    browser,
    microphone: "none",
    init: `navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("made up by the test", "NotAllowedError"); };`,
  });
  await kim.join(server.url, ROOM);
  const { page } = kim;
  const banner = page.getByRole("alert").getByText("blocked");
  await banner.waitFor();
  await fits(kim, "a banner");
  await page.setViewportSize({ width: 360, height: 740 });
  const banners = await page.locator(".problems").evaluate((all) => all.getBoundingClientRect().height);
  assert.ok(banners < 0.29 * 740, `a banner takes ${banners} px of a telephone`);
  await page.locator("#show-chat").click();
  // The chat of a newcomer begins when they come, and has a line about it.
  await page.getByText("No messages since you joined.").waitFor();
  assert.equal(await page.locator("#chat-log [data-message]").count(), 0);
  await page.locator("#chat-text").fill("I can only write.");
  await page.keyboard.press("Enter");
  await page.locator('[data-message][data-mine="true"]').getByText("I can only write.").waitFor();
  await page.locator('[data-mine="true"] strong').getByText("You", { exact: true }).waitFor();
  await page.getByRole("button", { name: /^Close: The microphone is blocked/ }).click();
  await banner.waitFor({ state: "detached" });
  // The button still tells it, and asks for the microphone again.
  assert.equal(await page.locator('#mute[data-state="none"]').innerText(), "No mic");
  await page.locator("#mute").click();
  await banner.waitFor();
});
