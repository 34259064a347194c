/** What a page of another origin can try against a console; run by test_console_hostile.py in a page of its own. */
async (root) => {
  const told = {};
  const api = root + "/console/api/";
  const send = async (name, path, how) => {
    try { const answer = await fetch(api + path, how); told[name] = answer.status || answer.type; }
    catch (error) { told[name] = error.name; }
  };
  await send("read", "setup", {credentials: "include"});
  await send("blind", "setup/check", {method: "POST", mode: "no-cors", credentials: "include", body: "{}"});
  const json = {"Content-Type": "application/json", "X-Offhook-Console": "1"};
  const plain = {"Content-Type": "text/plain"};
  await send("text", "setup/check", {method: "POST", credentials: "include", body: "{}", headers: plain});
  await send("json", "setup/check", {method: "POST", body: "{}", headers: json});
  for (const path of ["leg", "phone"]) told[path] = await new Promise((done) => {
    const socket = new WebSocket(api.replace("http", "ws") + path);
    socket.onopen = () => done("open");
    socket.onerror = () => done("error");
  });
  told.stream = await new Promise((done) => {
    const source = new EventSource(api + "stream", {withCredentials: true});
    source.onopen = () => done("open");
    source.onerror = () => { source.close(); done("error"); };
  });
  told.script = await new Promise((done) => {
    const script = document.createElement("script");
    script.src = root + "/console/api.js";
    script.onload = () => done("load");
    script.onerror = () => done("error");
    document.body.append(script);
  });
  told.frame = await new Promise((done) => {
    const frame = document.createElement("iframe");
    frame.src = root + "/console/";
    frame.onload = () => { try { done(frame.contentDocument ? "ours" : "blocked"); } catch { done("blocked"); } };
    document.body.append(frame);
  });
  const form = document.createElement("form");
  Object.assign(form, {method: "post", action: api + "setup/check", target: "sink", enctype: "text/plain"});
  const sink = document.createElement("iframe");
  sink.name = "sink";
  document.body.append(sink, form);
  await new Promise((done) => { sink.onload = done; form.submit(); });
  return told;
}
