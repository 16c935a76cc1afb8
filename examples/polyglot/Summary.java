package requests;

import com.google.gson.JsonObject;
import java.util.Locale;

/** Says in a sentence what a request was. */
public class Summary {
    public static JsonObject main(JsonObject args) {
        String text = String.format(Locale.ROOT, "%s: %s %s %s", args.get("time").getAsString(), args.get("user").getAsString(),
                args.get("method").getAsString().equals("GET") ? "read" : "wrote", args.get("page").getAsString());
        if (args.has("query")) {
            text += " about \"" + args.get("query").getAsString() + "\"";
        }
        int status = args.get("status").getAsInt();
        text += status < 400 ? String.format(Locale.ROOT, " (%.1f KiB)", args.get("bytes").getAsInt() / 1024.0) : " in vain: " + status;
        JsonObject summary = new JsonObject();
        summary.addProperty("summary", text);
        return summary;
    }
}
