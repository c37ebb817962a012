import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;

/** Log4j's Socket appender with its JSON layout: `Client PORT COUNT`. Every hundredth event has a long stack trace. */
public final class Client {
    public static void main(String[] args) {
        Logger log = LogManager.getLogger("app");
        int count = Integer.parseInt(args[0]);
        Exception trouble = deep(600);
        for (int seq = 1; seq <= count; seq++) {
            if (seq % 100 == 0) {
                log.error("seq={} a Java program, ä \"quoted\"\n", seq, trouble);
            } else {
                log.info("seq={} a Java program, ä \"quoted\"\n", seq);
            }
        }
        LogManager.shutdown();
    }

    /** An exception whose JSON is over 32 KiB. */
    private static Exception deep(int depth) {
        return depth == 0 ? new IllegalStateException("deep") : deep(depth - 1);
    }
}
